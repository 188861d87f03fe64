import assert from 'node:assert/strict'
import { parseResolvConf, type SystemServers } from '../../../plugins/dnssec-stub/resolv-conf'

/** resolver(5), row by row. */
const rows: [what: string, text: string, expected: SystemServers][] = [
  ['empty', '', { servers: [] }],
  ['comments', '# nameserver 192.0.2.1\n; nameserver 192.0.2.2\n', { servers: [] }],
  [
    'in the order in which they stand',
    'nameserver 192.0.2.2\nsearch example\nnameserver 192.0.2.1\n',
    { servers: ['192.0.2.2:53', '192.0.2.1:53'] },
  ],
  [
    'no more than three',
    [1, 2, 3, 4].map((n) => `nameserver 192.0.2.${n}`).join('\n'),
    { servers: ['192.0.2.1:53', '192.0.2.2:53', '192.0.2.3:53'] },
  ],
  [
    'IPv6, with and without a zone',
    'nameserver 2001:db8::1\nnameserver fe80::1%eth0.5\n',
    { servers: ['[2001:db8::1]:53', '[fe80::1%eth0.5]:53'] },
  ],
  ['tabs, blanks and CR at the end', 'nameserver\t 192.0.2.1 \r\n', { servers: ['192.0.2.1:53'] }],
  [
    'what stands behind an address is no address',
    'nameserver 192.0.2.1 # here\n',
    { servers: ['192.0.2.1:53'] },
  ],
  ['a keyword begins its line', ' nameserver 192.0.2.1\n', { servers: [] }],
  [
    'what is no address is passed over',
    'nameserver dns.example\nnameserver\nnameserver 192.0.2.1:5353\nnameserver [::1]:5353\nnameserver 999.0.0.1\nnameserver 192.0.2.9\n',
    { servers: ['192.0.2.9:53'] },
  ],
  [
    'options',
    'options timeout:1 attempts:3 rotate use-vc edns0 trust-ad\n',
    { servers: [], timeoutMs: 1000, attempts: 3, rotate: true, tcpOnly: true },
  ],
  [
    'the last one counts, over several lines',
    'options timeout:1\noptions timeout:2\n',
    { servers: [], timeoutMs: 2000 },
  ],
  [
    'as large as resolver(5) allows',
    'options timeout:600 attempts:99\n',
    { servers: [], timeoutMs: 30_000, attempts: 5 },
  ],
  [
    'numbers that are none',
    'options timeout: timeout:x attempts:0 attempts:-1 timeout:1s\n',
    { servers: [] },
  ],
]

describe('resolv.conf (resolver(5))', () => {
  for (const [what, text, expected] of rows) {
    it(what, () => {
      assert.deepEqual(parseResolvConf(text), expected)
    })
  }
})
