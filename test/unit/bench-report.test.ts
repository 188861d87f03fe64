/** `npm run bench` is run by people; that its medians and its JSON are right is shown here. */
import assert from 'node:assert/strict'
import { asTable, median, quantile, Rounds } from '../bench/report'

describe('what a benchmark says', () => {
  it('is the median of its rounds, in the order in which cases and metrics came', () => {
    const rounds = new Rounds('herd')
    for (const value of [3, 1, 100]) rounds.add('plain Haraka', 'time', value, 'ms')
    for (const value of [1, 2]) rounds.add('MTA-STS', 'queries', value, '')
    rounds.add('plain Haraka', 'queries', 7, '')
    assert.deepEqual(rounds.rows(), [
      { bench: 'herd', case: 'plain Haraka', metric: 'time', value: 3, unit: 'ms' },
      { bench: 'herd', case: 'MTA-STS', metric: 'queries', value: 1.5, unit: '' },
      { bench: 'herd', case: 'plain Haraka', metric: 'queries', value: 7, unit: '' },
    ])
  })

  it('a quantile lies between the values beside it, and there is none of nothing', () => {
    const values = [5, 1, 3, 2, 4]
    assert.equal(median(values), 3)
    assert.equal(quantile(values, 0), 1)
    assert.equal(quantile(values, 1), 5)
    assert.equal(quantile(values, 0.9), 4.6)
    assert.throws(() => median([]), RangeError)
  })

  it('as a table, shows each value with digits enough to compare it', () => {
    const row = (value: number, unit: string) => ({
      bench: 'x',
      case: 'c',
      metric: 'm',
      value,
      unit,
    })
    const table = asTable([row(0.98765, ''), row(1234.5, '1/s'), row(42, 'ms')])
    assert.deepEqual(
      table.split('\n').map((line) => line.split(/ {2,}/)),
      [
        ['bench', 'case', 'metric', 'value', 'unit'],
        ['x', 'c', 'm', '0.9877'],
        ['x', 'c', 'm', '1,235', '1/s'],
        ['x', 'c', 'm', '42', 'ms'],
      ],
    )
  })
})
