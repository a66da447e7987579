/**
 * The library with a model of server and network, and random events from a seed. All frames that the server has passed
 * to its system reach the page exactly once and in order, over any transport. At the end every connection recovers.
 *
 * SEEDS is the number of runs. SEED selects a single run.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { connection, install, page, uninstall } from '../support/fakes.mjs';
import { Model, requestsOf, socketsOf } from '../support/model.mjs';

const RUNS = Number(process.env.SEEDS ?? 60);
const STEPS = 300;
const STEP_MS = 20;

beforeEach(install);
afterEach(uninstall);

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

/** Possible events, with weights. */
const FAULTS = {
    publish: [60, (model) => model.publish()],
    websocketsRefused: [2, (model) => { model.websockets = 'refused'; }],
    websocketsOpen: [4, (model) => { model.websockets = 'open'; }],
    breakAll: [4, (model) => model.breakAll()],
    restart: [1, (model) => model.restart()],
    serverDown: [1, (model) => { model.up = false; model.breakAll(); }],
    serverUp: [4, (model) => { model.up = true; }],
    wake: [2, () => page.look('visible')],
    offline: [1, () => page.network(false)],
    online: [2, () => page.network(true)],
};

/** Events that lose bytes in flight, because no server can know which bytes arrived. */
const CUTS = {
    websocketsMuted: [2, (model) => { model.websockets = 'muted'; }],
    hide: [1, () => { page.hide({ persisted: true }); }],
    show: [4, () => { page.show(); }],
};

function choose(faults, random) {
    const total = Object.values(faults).reduce((sum, [weight]) => sum + weight, 0);
    let left = random() * total;
    return Object.values(faults).find(([weight]) => (left -= weight) < 0)[1];
}

function simulate(seed, faults) {
    const random = chance(seed);
    mock.method(Math, 'random', random);
    const model = new Model({ random });
    globalThis.WebSocket = socketsOf(model);
    globalThis.XMLHttpRequest = requestsOf(model);
    const made = connection({ websocketUrl: 'ws://server/ws' });
    const opens = [];
    made.on('open', ({ gap }) => opens.push({ gap, at: Date.now() }));
    made.connect();
    // Uses small steps, because a timer that another timer schedules counts from the end of the step.
    const pass = (ms) => {
        for (let left = ms; left > 0; left -= STEP_MS) {
            mock.timers.tick(Math.min(left, STEP_MS));
        }
        model.sweep();
    };
    for (let step = 0; step < STEPS; step += 1) {
        choose(faults, random)(model);
        pass(Math.floor(random() * (random() < 0.1 ? 8000 : 300)));
    }
    model.up = true;
    model.websockets = 'open';
    page.show();
    page.network(true);
    // Longer than the longest wait for a reconnect plus the longest wait for a probe.
    for (let second = 0; second < 500; second += 1) {
        pass(1000);
    }
    model.publish();
    pass(1000);
    return { made, model, opens };
}

function check({ made, model, opens }, { mayLose }) {
    assert.equal(made.state, 'connected');
    assert.equal(made.transport, 'websocket');
    const got = new Map(model.all.map(({ id }) => [id, []]));
    made.messages.forEach(({ connection: id, number }) => got.get(id).push(number));
    for (const { id, cursor, lost, lostAt } of model.all) {
        const numbers = got.get(id);
        assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), `${id}: in order and once`);
        assert.deepEqual([...numbers, ...lost].sort((a, b) => a - b), [...Array(cursor).keys()], `${id}: complete`);
        for (const at of lostAt) {
            const next = opens.find((open) => open.at > at);
            assert.ok(next.gap, `${id}: an unreported gap`);
        }
        assert.ok(mayLose || lost.length === 0, `${id}: lost ${lost}`);
    }
    const last = model.all.at(-1);
    assert.equal(made.connectionId, last.id);
    assert.equal(got.get(last.id).at(-1), last.published - 1, 'the last frame has arrived');
}

const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: RUNS }, (_, index) => index + 1);

for (const [name, faults, mayLose] of [
    ['broken and changed transports lose and repeat nothing', FAULTS, false],
    ['ends by the client lose at most frames in flight', { ...FAULTS, ...CUTS }, true],
]) {
    test(name, () => {
        let delivered = 0;
        for (const seed of seeds) {
            try {
                const run = simulate(seed, faults);
                check(run, { mayLose });
                delivered += run.made.messages.length;
                run.made.closeConnection();
            } catch (error) {
                throw new Error(`SEED=${seed}`, { cause: error });
            }
            uninstall();
            install();
        }
        assert.ok(delivered > 50 * seeds.length, `${delivered} frames: too few to show anything`);
    });
}
