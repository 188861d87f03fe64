/** What a receiver of the lab can be made to do wrong, by the stage where it shows. */

export type Fault =
  | 'none'
  /** Closes as soon as the connection is there. */
  | 'drop-on-connect'
  /** A TCP reset as soon as the connection is there. */
  | 'reset-on-connect'
  /** Never says a word. */
  | 'hang-greeting'
  | 'greeting-421'
  | 'greeting-554'
  /** A line that is no SMTP reply. */
  | 'greeting-junk'
  /** A greeting whose continuation lines never end. */
  | 'greeting-endless'
  /** Refuses EHLO and takes HELO. */
  | 'helo-only'
  /** Answers EHLO with a line that is no SMTP reply. */
  | 'ehlo-junk'
  | 'ehlo-hang'
  /** Does not offer STARTTLS, and refuses it. */
  | 'no-starttls'
  | 'starttls-454'
  | 'starttls-554'
  /** Never answers STARTTLS. */
  | 'starttls-hang'
  /** Closes instead of answering STARTTLS. */
  | 'starttls-drop'
  | 'drop-after-220'
  /** Sends more cleartext in the packet of STARTTLS's 220. */
  | 'inject-after-220'
  | 'garbage-handshake'
  | 'hang-handshake'
  /** No TLS above 1.1. */
  | 'tls11-only'
  /** A TCP reset once the handshake is done. */
  | 'reset-after-tls'
  /** Offers STARTTLS again inside TLS. */
  | 'starttls-again'
  /** A TCP reset instead of an answer to MAIL. */
  | 'reset-at-mail'
  | 'mail-450'
  | 'mail-550'
  | 'rcpt-450'
  | 'rcpt-550'
  /** Takes the first recipient of a message, and defers the others. */
  | 'rcpt-450-but-one'
  /** A TCP reset in the middle of the message. */
  | 'reset-in-data'
  /** Refuses DATA itself. */
  | 'data-command-451'
  /** Closes in the middle of the message, without a word. */
  | 'close-in-data'
  /** Answers 451 and closes in the middle of the message. */
  | 'refuse-in-data'
  /** Cleartext among the TLS records, in the middle of the message. */
  | 'garbage-in-data'
  | 'data-451'
  | 'data-554'
  /** A TCP reset behind the 250 for the message. */
  | 'reset-after-stored'
  /** A TCP reset instead of an answer to QUIT. */
  | 'reset-at-quit'
  /** Takes the message and never says so. */
  | 'hang-after-data'
