/** The browser library in Chromium: networks that refuse or drop websockets, and other ends of a connection. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.mjs';
import { visit } from '../support/visit.mjs';

let browser;

before(async () => {
    browser = await launch();
});
after(() => browser?.close());

for (const fallback of ['sse', 'longpoll']) {
    const options = { transports: ['websocket', fallback] };

    test(`refused websockets are replaced by ${fallback} and used again when possible, without loss`, async (context) => {
        const { gate, site, listensOver, hasAll, ids, log } = await visit(context, browser, { websockets: 'refuse', options });
        await listensOver(fallback);
        const stop = site.keepSending();
        await site.sendMany(20);
        gate.websockets = 'pass';
        await listensOver('websocket');
        await site.sendMany(20);
        await stop();
        await hasAll();
        assert.equal(await ids(), 1);
        assert.deepEqual(await log(), ['connecting: connect', 'connected: open', fallback, 'websocket resumed']);
    });

    test(`a handshake without a response costs only the wait for ${fallback}`, async (context) => {
        const { gate, site, tab, listensOver, hasAll, log } = await visit(context, browser, { websockets: 'mute', options });
        await listensOver(fallback);
        const stop = site.keepSending();
        // The gate drops probes as well, but no frame is lost with them.
        const handshakes = gate.handshakes;
        while (gate.handshakes < handshakes + 1) {
            await site.sendMany(20);
        }
        gate.websockets = 'pass';
        await listensOver('websocket');
        await stop();
        await hasAll();
        assert.deepEqual((await log()).filter((line) => !line.includes(':')), [fallback, 'websocket resumed']);
        assert.equal(await tab.evaluate(() => window.ids.size), 1);
    });

    test(`the client keeps its id when the network starts to refuse websockets and leaves ${fallback}`, async (context) => {
        const { gate, site, listensOver, hasAll, ids } = await visit(context, browser, { options });
        await listensOver('websocket');
        const stop = site.keepSending();
        await site.sendMany(20);
        gate.websockets = 'refuse';
        await gate.breakAll();
        await listensOver(fallback);
        await site.sendMany(20);
        gate.websockets = 'pass';
        await listensOver('websocket');
        await stop();
        await hasAll();
        assert.equal(await ids(), 1);
    });
}

test('a closed page disconnects immediately if the option is on', async (context) => {
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

test('a second socket with the same id ends a connection permanently', async (context) => {
    const { gate, tab, listensOver, log } = await visit(context, browser);
    await listensOver('websocket');
    await tab.evaluate((url) => {
        window.other = new WebSocket(`${url}/ws?conn_id=${window.connection.connectionId}`);
    }, gate.url.replace('http', 'ws'));
    await tab.waitForFunction(() => window.connection.state === 'disconnected');
    assert.equal((await log()).at(-1), 'disconnected: taken-over');
    assert.equal(await tab.evaluate(() => window.other.readyState), 1);
});

test('the classic script works', async (context) => {
    const { site, hasAll, tab } = await visit(context, browser, { path: '/classic' });
    await tab.waitForFunction(() => window.connection.connected);
    await site.sendMany(3);
    await hasAll();
});
