/** Connection tokens in Chromium with the real server: pages that connect without a view of the application. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { signedToken } from '../support/api.mjs';
import { launch } from '../support/browser.mjs';
import { Server } from '../support/server.mjs';
import { Site } from '../support/site.mjs';

const LIMIT_MS = 30_000;

let browser;

before(async () => {
    browser = await launch();
});
after(() => browser?.close());

/** A token of the application for `ada`. */
const tokenFor = (seconds) => signedToken('ada', seconds, { channels: ['lobby'] });

const page = (server, options) => `<script type="module">
import { ChannelStreamConnection } from 'channelstream-browser';

const connection = new ChannelStreamConnection({
    getToken: async ({ user, reason }) => {
        window.asked.push(user + ': ' + reason);
        return window.issue();
    },
    username: 'ada',
    websocketUrl: '${server.url.replace('http', 'ws')}/ws',
    longPollUrl: '${server.url}/listen',
    increaseBounceIv: 100,
    ...${JSON.stringify(options)},
});
window.connection = connection;
window.asked = [];
window.numbers = [];
window.log = [];
connection.on('message', ({ message }) => window.numbers.push(message.number));
connection.on('state', ({ state, reason }) => window.log.push(state + ': ' + reason));
connection.on('error', ({ message }) => window.log.push(message));
connection.connect();
</script>`;

/** A listening page whose first token is valid for `first` seconds, and later ones for `later`. */
async function visit(context, { options = {}, first = 3600, later = 3600 } = {}) {
    const server = await Server.start({ demo: false, settings: { REQUIRE_TOKENS: 'true' } });
    context.after(() => server.stop());
    const site = await Site.start(server, { '/': page(server, options) });
    context.after(() => site.stop());
    const tab = await browser.newPage();
    context.after(() => tab.close());
    tab.setDefaultTimeout(LIMIT_MS);
    let issued = 0;
    await tab.exposeFunction('issue', () => {
        issued += 1;
        return tokenFor(issued === 1 ? first : later);
    });
    await tab.goto(site.url);
    const asked = () => tab.evaluate(() => window.asked);
    const log = () => tab.evaluate(() => window.log);
    const connected = () => tab.waitForFunction(() => window.connection.connected && window.connection.channels.length > 0);
    const hasAll = async () => {
        await tab.waitForFunction((count) => window.numbers.length >= count, site.sent);
        assert.deepEqual(await tab.evaluate(() => window.numbers), [...Array(site.sent).keys()]);
    };
    return { server, site, tab, asked, log, connected, hasAll };
}

for (const [transport, options] of [['websocket', {}], ['longpoll', { noWebsocket: true }]]) {
    test(`over ${transport} a page connects, and reconnects to a restarted server, with one token`, async (context) => {
        const { server, site, tab, asked, connected, hasAll } = await visit(context, { options });
        await connected();
        assert.deepEqual(await tab.evaluate(() => window.connection.channels), ['lobby']);
        await site.sendMany(3);
        await hasAll();
        const id = await tab.evaluate(() => window.connection.connectionId);
        await server.kill('SIGKILL');
        await tab.waitForFunction(() => !window.connection.connected);
        await server.launch();
        await connected();
        await site.sendMany(3);
        await hasAll();
        assert.deepEqual(await asked(), ['ada: connect']);
        assert.equal(await tab.evaluate(() => window.connection.connectionId), id);
        assert.deepEqual(site.calls, [], 'no view of the application was called');
    });

    test(`over ${transport} a token is replaced without a new transport`, async (context) => {
        const { site, tab, asked, log, connected, hasAll } = await visit(context, { options, first: 4 });
        await connected();
        await tab.waitForFunction(() => window.asked.length === 2);
        const until = Date.now() + 6_000;
        while (Date.now() < until) {
            await site.sendOne();
            await tab.waitForTimeout(100);
        }
        await hasAll();
        assert.deepEqual(await asked(), ['ada: connect', 'ada: refresh']);
        assert.deepEqual(await log(), ['connecting: connect', 'connected: open']);
    });
}

test('an application ends a connection so that it comes back with a fresh token, or for good', async (context) => {
    const { site, tab, asked, log, connected, hasAll } = await visit(context);
    await connected();
    await site.call('/end', { user: 'ada', reason: 'new rights', reconnect: true });
    await tab.waitForFunction(() => window.asked.length === 2);
    await connected();
    assert.deepEqual(await asked(), ['ada: connect', 'ada: expired']);
    await site.sendMany(2);
    await hasAll();
    await site.call('/end', { user: 'ada', reason: 'signed out', reconnect: false });
    await tab.waitForFunction(() => window.connection.state === 'disconnected');
    assert.equal((await log()).at(-1), 'disconnected: ended');
});

test('tokens that the server refuses end in the state failed', async (context) => {
    const { tab, asked, log } = await visit(context, { first: -60, later: -60 });
    await tab.waitForFunction(() => window.connection.state === 'failed');
    assert.ok((await asked()).length < 10, 'the application is not flooded');
    assert.deepEqual((await log()).filter((line) => line.startsWith('token')), Array(3).fill('token: status 401'));
});
