/**
 * The library with a model of a server that knows positions. The network is cut at every element, on each transport and
 * between transports: the page receives every frame of every stream once and in order, and is told of no loss.
 *
 * SEEDS is the number of random runs. SEED selects a single one.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { connection, install, page, record, uninstall } from '../support/fakes.mjs';
import { StreamServer } from '../support/streams.mjs';

const RUNS = Number(process.env.SEEDS ?? 150);
const STEP_MS = 20;

/** Longer than the waits for two reconnects. */
const QUIET_MS = 12_000;
const NAMES = ['one', 'two', ''];

beforeEach(install);
afterEach(uninstall);

/** Uses small steps, because a timer that another timer schedules counts from the end of the step. */
function pass(ms, stepMs = STEP_MS) {
    for (let left = ms; left > 0; left -= stepMs) {
        mock.timers.tick(Math.min(left, stepMs));
    }
}

function start(server, settings) {
    server.install();
    NAMES.forEach((name) => server.join(name));
    const made = connection({ channels: ['one', 'two'], ...settings });
    const recovered = record(made, 'recovered');
    const gaps = [];
    made.on('open', ({ gap }) => gap && gaps.push(Date.now()));
    made.connect();
    // Longer than a poll, whose response is the first one that contains positions.
    pass(6_000, 100);
    server.publish(...NAMES);
    pass(6_000, 100);
    return { made, recovered, gaps };
}

/** Everything that can lie between two cuts: single frames, rounds with several streams, heartbeats, a new channel. */
const SCRIPT = [
    (server) => server.publish('one'),
    (server) => server.publish('two', 'one', ''),
    (server) => server.heartbeat(),
    (server) => server.publish(''),
    (server) => server.join('late'),
    (server) => server.publish('late', 'one'),
    (server) => server.publish('two'),
    (server) => server.heartbeat(),
    (server) => server.publish('one', 'two', 'late', ''),
];

function check(server, { made, recovered, gaps }) {
    for (const { name, epoch, frames } of server.streams.values()) {
        const got = made.messages.filter(({ channel }) => (channel ?? '') === name).map(({ uuid }) => uuid);
        assert.deepEqual(got, frames.map(({ frame }) => frame.uuid), `the frames of ${JSON.stringify(name)} ${epoch}`);
    }
    assert.ok(made.messages.every(({ type }) => type === 'message'), 'frames only');
    assert.deepEqual(recovered.filter(([, detail]) => !detail.recovered), []);
    assert.deepEqual(gaps, []);
    assert.equal(made.state, 'connected');
}

/** Plays the script with the network cut after each of these numbers of elements. Returns whether all cuts happened. */
function play(cuts, transport, options) {
    const server = new StreamServer(options);
    const run = start(server, { transports: [transport] });
    server.cuts = [...cuts];
    for (const step of SCRIPT) {
        step(server);
        pass(30);
    }
    pass(QUIET_MS, 250);
    const happened = server.cuts.length === 0;
    server.publish(...server.streams.keys());
    pass(QUIET_MS, 250);
    check(server, run);
    assert.equal(run.made.transport, transport);
    run.made.closeConnection();
    return happened;
}

for (const transport of ['websocket', 'sse', 'longpoll']) {
    for (const [name, options] of [
        ['cursor and positions', {}],
        ['a cursor only', { reads: ['since'] }],
        // Polls learn of a new channel together with its frames, so only a cursor helps if that response is lost.
        ...(transport === 'longpoll' ? [] : [['positions only', { reads: ['positions'] }]]),
    ]) {
        test(`${transport}: a cut at every element loses and repeats nothing, with ${name}`, () => {
            let first = 0;
            for (; play([first], transport, options); first += 1) {
                uninstall();
                install();
            }
            assert.ok(first > 5, `${first} elements: too few to show anything`);
        });
    }

    test(`${transport}: a second cut at every element of the return loses and repeats nothing`, () => {
        let pairs = 0;
        for (let first = 0, second = 0; ; second += 1) {
            uninstall();
            install();
            if (play([first, second], transport)) {
                pairs += 1;
            } else if (second > 0) {
                [first, second] = [first + 1, -1];
            } else {
                break;
            }
        }
        assert.ok(pairs > 5, `${pairs} pairs: too few to show anything`);
    });
}

test('a client that has no positions yet reports that frames in flight may be lost', () => {
    for (const transport of ['websocket', 'sse', 'longpoll']) {
        const server = new StreamServer();
        server.cuts = [0];
        const { made: client, gaps } = start(server, { transports: [transport], infoUrl: '/app/info' });
        pass(QUIET_MS, 250);
        assert.deepEqual([client.state, gaps.length], ['connected', 1], transport);
        client.closeConnection();
        uninstall();
        install();
    }
});

/** Mulberry32: small, and random enough to choose events. */
function chance(seed) {
    let state = seed;
    return () => {
        state = (state + 0x6d2b79f5) | 0;
        let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
}

function simulate(seed) {
    const random = chance(seed);
    mock.method(Math, 'random', random);
    const server = new StreamServer({ reads: random() < 0.5 ? ['since'] : ['since', 'positions'] });
    // The model keeps the connection forever.
    const run = start(server, { graceTimeMs: 1e9 });
    const used = new Set();
    for (let step = 0; step < 120; step += 1) {
        const choice = random();
        if (choice < 0.6) {
            const names = [...server.streams.keys()].filter(() => random() < 0.5);
            server.publish(...names);
        } else if (choice < 0.75) {
            server.cuts.push(Math.floor(random() * 6));
        } else if (choice < 0.8) {
            server.refused = new Set(['websocket', 'sse'].filter(() => random() < 0.5));
        } else if (choice < 0.84) {
            page.hide({ persisted: true });
        } else if (choice < 0.92) {
            page.show();
        } else if (choice < 0.94) {
            page.network(true);
        } else {
            server.heartbeat();
        }
        pass(Math.floor(random() * (random() < 0.2 ? 4000 : 100)));
        used.add(run.made.transport);
    }
    server.cuts = [];
    server.refused.clear();
    page.show();
    page.network(true);
    pass(700_000, 500);
    server.publish(...server.streams.keys());
    pass(10_000);
    check(server, run);
    assert.equal(run.made.transport, 'websocket');
    run.made.closeConnection();
    return { used, count: run.made.messages.length };
}

test('random cuts, changes of transport and hidden pages lose and repeat nothing', () => {
    const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: RUNS }, (_, index) => index + 1);
    const used = new Set();
    let count = 0;
    for (const seed of seeds) {
        try {
            const run = simulate(seed);
            run.used.forEach((name) => used.add(name));
            count += run.count;
        } catch (error) {
            throw new Error(`SEED=${seed}`, { cause: error });
        }
        uninstall();
        install();
    }
    assert.ok(count > 50 * seeds.length, `${count} frames: too few to show anything`);
    assert.deepEqual([...used].sort(), ['longpoll', 'sse', 'websocket', null].sort());
});
