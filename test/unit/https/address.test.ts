import assert from 'node:assert/strict'
import fc from 'fast-check'
import { isPublicAddress } from '../../../plugins/https/address'

const PUBLIC = [
  '1.1.1.1', '9.255.255.255', '11.0.0.1', '100.63.255.255', '100.128.0.1', '172.15.0.1', '172.32.0.1', '192.0.1.1',
  '198.17.0.1', '198.20.0.1', '223.255.255.255', '2606:4700::1111', '2a00::1', '2001:200::1',
  '126.255.255.255', '128.0.0.1', '169.253.255.255', '169.255.0.1', '192.0.3.1', '192.167.255.255', '192.169.0.1',
  '192.88.98.255', '192.88.100.1', '198.51.99.255', '198.51.101.1', '203.0.112.255', '203.0.114.1',
  '2001:db7:ffff::1', '2001:db9::1', '2003::1', '2001:4860:4860::8888', '3ffe::1',
  '64:ff9b::101:101', '64:ff9b::1.1.1.1', '64:ff9b:0:0:0:0:808:808',
] // prettier-ignore

const SPECIAL = [
  '0.0.0.0', '0.1.2.3', '10.0.0.1', '100.64.0.1', '100.127.255.255', '127.0.0.1', '127.255.0.1', '169.254.169.254',
  '172.16.0.1', '172.31.255.255', '192.0.0.1', '192.0.2.1', '192.88.99.1', '192.168.1.1', '198.18.0.1', '198.19.255.1',
  '198.51.100.1', '203.0.113.1', '224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255',
  '::', '::1', '::ffff:10.0.0.1', '::ffff:1.1.1.1', '::ffff:7f00:1', '::7f00:1', '::10.0.0.1', '100::1',
  '64:ff9b::10.0.0.1', '64:ff9b::a00:1', '64:ff9b::7f00:1', '64:ff9b::', '64:ff9b::1', '64:ff9b:1::1',
  '::ffff:0:10.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b::c0a8:101', '64:ff9b::6440:1', '64:ff9b::c612:1', '64:ff9b::e000:1',
  '64:ff9b:0:0:0:1::1', '64:ff9a::1', '2001:1ff:ffff::1', '2001:20::1', '2001:2::1', '2002:ffff::1', '3fff:fff:ffff::1',
  'fdff:ffff::1', 'fe9f::1', 'febf::1', 'feff::1', 'ffff::1', '1fff::1', 'fd00:ec2::254', '100:0:0:1::1',
  'fc00::1', 'fd12:3456::1', 'fe80::1', 'fe80::1%eth0', '2a00::1%eth0', 'fec0::1', 'ff02::1', '2001:db8::1',
  '2001::1', '2001:0:53aa::1', '2001:10::1', '2002:a00:1::1', '2002:101:101::1', '3fff::1', '5f00::1', '4000::1',
  '', 'localhost', '1.1.1', '010.0.0.1', '1.1.1.1 ', '0x7f.1', '2130706433', '[::1]', 'x',
] // prettier-ignore

describe('addresses of policy hosts', () => {
  for (const address of PUBLIC)
    it(`${address} is public`, () => assert.equal(isPublicAddress(address), true))
  for (const address of SPECIAL) {
    it(`${JSON.stringify(address)} is refused`, () => assert.equal(isPublicAddress(address), false))
  }
  it('an IPv4 address inside NAT64 is judged as the address it is, in any notation', () => {
    fc.assert(
      fc.property(fc.ipV4(), (ipv4) => {
        const [a = 0, b = 0, c = 0, d = 0] = ipv4.split('.').map(Number)
        const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
        for (const form of [`64:ff9b::${ipv4}`, `64:ff9b::${hex}`, `64:ff9b:0:0:0:0:${hex}`]) {
          assert.equal(isPublicAddress(form), isPublicAddress(ipv4), form)
        }
      }),
    )
  })
  it('never throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.ipV4Extended()),
        (text) => void isPublicAddress(text),
      ),
    )
  })
})
