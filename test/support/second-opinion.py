"""Judges a report mail with tools of other hands than ours: Python's email, gzip and json, and dkimpy.

Standard input: the message. Arguments: the name of the key's TXT record, and its text. Prints one line of JSON.
"""

import base64
import email
import email.policy
import gzip
import json
import sys

import dkim


def strict(pairs):
    """Refuses an object that names a key twice (RFC 7493)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


name, record = sys.argv[1], sys.argv[2]
octets = sys.stdin.buffer.read()
asked = []


def txt(question, timeout=5):
    asked.append(question.decode().rstrip("."))
    return record.encode() if asked[-1] == name else None


def verify(tlsrpt):
    try:
        return bool(dkim.DKIM(octets, tlsrpt=tlsrpt).verify(dnsfunc=txt))
    except dkim.DKIMException as error:
        return str(error)


message = email.message_from_bytes(octets, policy=email.policy.SMTP)
parts = list(message.iter_parts())
attachment = parts[1]
report = gzip.decompress(attachment.get_payload(decode=True))
print(
    json.dumps(
        {
            "dkim": verify(False),
            "dkimForReports": verify(True),
            "defects": [str(d) for part in message.walk() for d in part.defects],
            "type": message.get_content_type(),
            "reportType": message.get_param("report-type"),
            "parts": [part.get_content_type() for part in parts],
            "disposition": attachment.get_content_disposition(),
            "fileName": attachment.get_filename(),
            "name": attachment.get_param("name"),
            "headers": {key: str(value) for key, value in message.items()},
            "text": parts[0].get_content(),
            "json": json.loads(report.decode("utf-8"), object_pairs_hook=strict),
            "jsonText": base64.b64encode(report).decode(),
        }
    )
)
