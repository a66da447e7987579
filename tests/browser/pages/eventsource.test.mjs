/** Server-sent events in Chromium, with a small server that speaks the wire. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.mjs';
import { Site } from '../support/site.mjs';
import { StreamEndpoint } from '../support/stream-server.mjs';

const LIMIT_MS = 30_000;

let browser;

before(async () => {
    browser = await launch();
});
after(() => browser?.close());

const page = (endpoint) => `<script type="module">
import { ChannelStreamConnection } from 'channelstream-browser';

const connection = new ChannelStreamConnection({
    longPollUrl: '${endpoint.url}/listen', transports: ['sse', 'longpoll'], increaseBounceIv: 100,
});
window.connection = connection;
window.numbers = [];
window.log = [];
connection.on('message', ({ message }) => window.numbers.push(message.number));
connection.on('open', ({ transport, gap }) => window.log.push(transport + (gap ? ' gap' : '')));
connection.on('state', ({ state, reason }) => window.log.push(state + ': ' + reason));
connection.connectionId = 'first';
connection.startListening();
</script>`;

async function visit(context) {
    const endpoint = await StreamEndpoint.start();
    context.after(() => endpoint.stop());
    const site = await Site.start({ url: endpoint.url }, { '/': page(endpoint) });
    context.after(() => site.stop());
    const tab = await browser.newPage();
    context.after(() => tab.close());
    tab.setDefaultTimeout(LIMIT_MS);
    await tab.goto(site.url);
    const log = () => tab.evaluate(() => window.log);
    const hasAll = async () => {
        await tab.waitForFunction((count) => window.numbers.length >= count, endpoint.frames.length);
        assert.deepEqual(await tab.evaluate(() => window.numbers), endpoint.frames.map((_, number) => number));
    };
    const listens = () => tab.waitForFunction(() => window.connection.transport === 'sse');
    return { endpoint, tab, log, hasAll, listens };
}

test('streams that are cut lose and repeat nothing', async (context) => {
    const { endpoint, tab, hasAll, listens, log } = await visit(context);
    await listens();
    for (let turn = 0; turn < 10; turn += 1) {
        endpoint.publish();
        endpoint.publish();
        if (turn % 2 === 0) {
            await hasAll();
            endpoint.heartbeat();
        }
        endpoint.cut();
        // Published while no stream is open.
        endpoint.publish();
        await tab.waitForFunction((count) => window.log.filter((line) => line.startsWith('sse')).length === count, turn + 2);
    }
    await hasAll();
    assert.deepEqual((await log()).filter((line) => line.includes('gap')), []);
    const last = endpoint.queries.at(-1);
    assert.deepEqual([last.get('conn_id'), last.get('resume')], ['first', null]);
    assert.match(last.get('since'), /^1store0\./);
});

test('an end that asks for a reconnect has one, and a final one has none', async (context) => {
    const { endpoint, tab, hasAll, listens, log } = await visit(context);
    await listens();
    endpoint.publish();
    endpoint.end(1012, 'server is restarting; retry after 300 ms', true);
    await tab.waitForFunction(() => window.log.filter((line) => line === 'sse').length === 2);
    endpoint.publish();
    await hasAll();
    endpoint.end(4004, 'signed out', false);
    await tab.waitForFunction(() => window.connection.state === 'disconnected');
    assert.equal((await log()).at(-1), 'disconnected: ended');
    assert.equal(endpoint.queries.length, 2);
});

test('an empty stream is tried again later', async (context) => {
    const { endpoint, tab, hasAll, listens } = await visit(context);
    await listens();
    endpoint.busy = true;
    endpoint.cut();
    endpoint.publish();
    while (endpoint.queries.length < 2) {
        await tab.waitForTimeout(20);
    }
    const since = Date.now();
    endpoint.busy = false;
    await listens();
    assert.ok(Date.now() - since > 3_000, 'a busy server has time to recover');
    await hasAll();
});

test('a refused stream is replaced by a poll, which learns the status', async (context) => {
    const { endpoint, tab, listens } = await visit(context);
    await listens();
    endpoint.status = 401;
    const poll = tab.waitForRequest(/\/listen\?conn_id=first&resume=1/);
    endpoint.cut();
    await poll;
    assert.equal(endpoint.queries.length, 2, 'the browser does not repeat it');
});
