/** The browser library in Chromium: networks that refuse or swallow websockets, and other ends. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.mjs';
import { visit } from '../support/visit.mjs';

let browser;

before(async () => {
    browser = await launch();
});
after(() => browser?.close());

test('where websockets are refused it polls, and changes back when they are not, losing nothing', async (context) => {
    const { gate, site, listensOver, hasAll, ids, log } = await visit(context, browser, { websockets: 'refuse' });
    await listensOver('longpoll');
    const stop = site.keepSaying();
    await site.sayMany(20);
    gate.websockets = 'pass';
    await listensOver('websocket');
    await site.sayMany(20);
    await stop();
    await hasAll();
    assert.equal(await ids(), 1);
    assert.deepEqual(await log(), ['connecting: connect', 'connected: open', 'longpoll', 'websocket resumed']);
});

test('a handshake whose answer is swallowed costs only the wait for it', async (context) => {
    const { gate, site, tab, listensOver, hasAll, log } = await visit(context, browser, { websockets: 'swallow' });
    await listensOver('longpoll');
    const stop = site.keepSaying();
    // Probes are swallowed as well, and no frame with them.
    const handshakes = gate.handshakes;
    while (gate.handshakes < handshakes + 1) {
        await site.sayMany(20);
    }
    gate.websockets = 'pass';
    await listensOver('websocket');
    await stop();
    await hasAll();
    assert.deepEqual((await log()).filter((line) => !line.includes(':')), ['longpoll', 'websocket resumed']);
    assert.equal(await tab.evaluate(() => window.ids.size), 1);
});

test('a network that begins to refuse websockets is polled through, with the same id', async (context) => {
    const { gate, site, listensOver, hasAll, ids } = await visit(context, browser);
    await listensOver('websocket');
    const stop = site.keepSaying();
    await site.sayMany(20);
    gate.websockets = 'refuse';
    await gate.breakAll();
    await listensOver('longpoll');
    await site.sayMany(20);
    gate.websockets = 'pass';
    await listensOver('websocket');
    await stop();
    await hasAll();
    assert.equal(await ids(), 1);
});

test('a page that is closed says goodbye at once, if it is told to', async (context) => {
    const options = { disconnectOnPagehide: true, noWebsocket: true };
    const settings = { UNATTACHED_TIMEOUT: 600_000 };
    const { site, tab, listensOver } = await visit(context, browser, { options, settings });
    await listensOver('longpoll');
    await tab.close({ runBeforeUnload: true });
    for (let there = true; there;) {
        const { channels } = await site.call('/info', { info: { channels: ['lobby'] } });
        there = channels.lobby.total_connections > 0;
    }
});

test('a second socket with its id ends a connection for good', async (context) => {
    const { gate, tab, listensOver, log } = await visit(context, browser);
    await listensOver('websocket');
    await tab.evaluate((url) => {
        window.other = new WebSocket(`${url}/ws?conn_id=${window.connection.connectionId}`);
    }, gate.url.replace('http', 'ws'));
    await tab.waitForFunction(() => window.connection.state === 'disconnected');
    assert.equal((await log()).at(-1), 'disconnected: taken-over');
    assert.equal(await tab.evaluate(() => window.other.readyState), 1);
});

test('a classic script does the same', async (context) => {
    const { site, hasAll, tab } = await visit(context, browser, { path: '/classic' });
    await tab.waitForFunction(() => window.connection.connected);
    await site.sayMany(3);
    await hasAll();
});
