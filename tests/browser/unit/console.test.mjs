/** The parts of the console that need no page. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ago, ahead, binary, bytes, milliseconds, percent, plural, rate } from '../../../static/console/format.js';
import { here, href } from '../../../static/console/router.js';
import { Series } from '../../../static/console/series.js';

const NAMES = ['connections', 'memory_bytes'];
const excerpt = (first, last) => ({
    first,
    last,
    names: NAMES,
    samples: Array.from({ length: last - first + 1 }, (_, index) => [first + index, 0]),
});

test('consecutive samples are joined, and old ones are dropped', () => {
    const series = new Series(1);
    series.take(excerpt(1, 3), 4);
    series.take(excerpt(4, 6), 4);
    assert.deepEqual(series.values('connections'), [3, 4, 5, 6]);
    const [times] = series.points('connections');
    assert.deepEqual(times.map((time) => Math.round(time - times[0])), [0, 1, 2, 3]);
    // Three seconds early, because the samples did not arrive one second apart.
    assert.ok(Math.abs(times.at(-1) - Date.now() / 1_000) < 4);
    // Nothing is new, so nothing changes.
    series.take({ first: 7, last: 6, names: NAMES, samples: [] }, 4);
    assert.deepEqual(series.values('connections'), [3, 4, 5, 6]);
});

test('samples of a restarted server do not join those of the previous one', () => {
    const series = new Series(15);
    series.take(excerpt(1, 50), 100);
    series.take(excerpt(1, 2), 100);
    assert.deepEqual(series.values('connections'), [1, 2]);
});

test('a page that was suspended for too long starts again', () => {
    const series = new Series(1);
    series.take(excerpt(1, 3), 600);
    series.take(excerpt(900, 905), 600);
    assert.deepEqual(series.values('connections'), [900, 901, 902, 903, 904, 905]);
});

test('times stay constant while the clock jitters', () => {
    const series = new Series(1);
    series.take(excerpt(1, 3), 600);
    const [before] = series.points('connections');
    series.take(excerpt(4, 5), 600);
    const [after] = series.points('connections');
    assert.deepEqual(after.slice(0, 3), before);
});

test('numbers and sizes are formatted for people', () => {
    assert.deepEqual([0, 999, 1_000, 20_480, 1_500_000, 3.2e12, null].map(bytes), ['0 B', '999 B', '1 KB', '20 KB', '1.5 MB', '3.2 TB', '–']);
    assert.deepEqual([0, 125, 1_000_000, 1_024, 1_536, 8 * 2 ** 20, 2 ** 30].map(binary),
        ['0 B', '125 B', '1,000,000 B', '1 KiB', '1,536 B', '8 MiB', '1 GiB']);
    assert.deepEqual([0, 250, 1_500, 60_000].map(milliseconds), ['0 s', '250 ms', '1,500 ms', '60 s']);
    assert.deepEqual([0, 0.25, 9.96, 1_234.5].map(rate), ['0', '0.3', '10', '1,235']);
    assert.deepEqual([percent(0.5), plural(1, 'user'), plural(2, 'user')], ['0.5 %', '1 user', '2 users']);
    const now = Date.now() / 1_000;
    assert.deepEqual([now, now - 59, now - 61, now - 7_300, now - 200_000, null].map(ago), ['0 s', '59 s', '1 min', '2 h', '2 d', '–']);
    assert.deepEqual([now - 5, now + 45, now + 3_700].map(ahead), ['0 s', '45 s', '1 h']);
});

test('an address preserves names of channels', () => {
    for (const name of ['news', 'orders/eu', 'a b?c#d&e', '100 %', 'żółw', '%2F']) {
        globalThis.location = { hash: href('channel', name, { x: 'y z' }) };
        assert.deepEqual(here(), { name: 'channel', argument: name, params: { x: 'y z' } });
    }
    globalThis.location = { hash: '' };
    assert.equal(here().name, 'overview');
    globalThis.location = { hash: '#/channel/100%' };
    assert.equal(here().argument, '100%');
});
