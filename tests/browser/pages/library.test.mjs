/** The browser library in Chromium, against the real server: what each transport must stand. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch } from '../support/browser.mjs';
import { Tabs } from '../support/tab.mjs';
import { visit } from '../support/visit.mjs';

let browser;

before(async () => {
    // Playwright switches off what pages in the wild have.
    browser = await launch({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });
});
after(() => browser?.close());

const TRANSPORTS = [['websocket', {}], ['longpoll', { noWebsocket: true }]];

for (const [transport, options] of TRANSPORTS) {
    describe(`over ${transport}`, () => {
        test('connections that break lose and repeat nothing', async (context) => {
            const { gate, site, listensOver, hasAll, ids } = await visit(context, browser, { options });
            await listensOver(transport);
            const stop = site.keepSaying();
            for (let turn = 0; turn < 8; turn += 1) {
                await site.sayMany(20);
                await gate.breakAll();
            }
            await stop();
            await listensOver(transport);
            await hasAll();
            assert.equal(await ids(), 1, 'it was one connection all the time');
        });

        test('a server that was killed is found again, and channels are joined again', async (context) => {
            const { server, site, tab, listensOver, ids } = await visit(context, browser, { options });
            await listensOver(transport);
            await tab.evaluate(() => window.connection.channel('news').subscribe());
            await server.kill('SIGKILL');
            await tab.waitForFunction(() => window.connection.state === 'reconnecting');
            await server.launch();
            await listensOver(transport);
            assert.equal(await ids(), 2);
            await tab.waitForFunction(() => window.connection.channel('news').state === 'subscribed');
            await site.sayMany(5, 'news');
            await tab.waitForFunction(() => window.numbers.length === 5);
            assert.deepEqual(await tab.evaluate(() => window.connection.channels), ['lobby', 'news']);
        });

        test('what the application leaves out of a new connection is asked for', async (context) => {
            const { server, site, tab, listensOver } = await visit(context, browser, { options });
            site.joins = ['lobby'];
            await listensOver(transport);
            await tab.evaluate(() => window.connection.channel('news').subscribe());
            await server.kill('SIGKILL');
            await server.launch();
            await tab.waitForFunction(() => window.ids.size === 2 && window.connection.channel('news').state === 'subscribed');
            assert.deepEqual(site.calls.filter((call) => call.includes('subscribe')), Array(2).fill('POST /subscribe'));
            await site.say('news');
            await tab.waitForFunction(() => window.numbers.length === 1);
        });

        test('a connection that the server has forgotten is replaced, and the history fills the gap', async (context) => {
            const settings = { GRACE_TIME_MS: 300, LEAVE_DELAY: 50, UNATTACHED_TIMEOUT: 300 };
            const { gate, site, tab, listensOver, ids } = await visit(context, browser, { options, settings });
            await listensOver(transport);
            await site.sayMany(3);
            await tab.waitForFunction(() => window.numbers.length === 3);
            await tab.evaluate(() => { window.connection.increaseBounceIv = 100_000; });
            await gate.close();
            await site.sayMany(4);
            const [id] = await tab.evaluate(() => [...window.ids]);
            const isKnown = { conn_id: id, channels: ['none of its own'] };
            while ((await site.forward('POST', '/unsubscribe', isKnown)).status === 200);
            gate.open();
            await tab.evaluate(() => window.dispatchEvent(new Event('online')));
            await tab.waitForFunction(() => window.ids.size === 2 && window.connection.connected);
            assert.equal(await ids(), 2);
            assert.deepEqual(await tab.evaluate(() => window.missed), [3, 4, 5, 6]);
            assert.equal(site.calls.filter((call) => call === 'POST /info').length, 0, 'connect() has told it');
            await site.say();
            await tab.waitForFunction(() => window.numbers.at(-1) === 7);
            const kept = await tab.evaluate(() => window.connection.channel('lobby').messages.map((m) => m.message.number));
            assert.deepEqual(kept, [0, 1, 2, 3, 4, 5, 6, 7]);
        });

        test('a browser that was offline is back at once, and asks for what it may have missed', async (context) => {
            // Heartbeats often, so that the silence is noticed soon; pauses long, so that only events shorten them.
            const settings = { HEARTBEAT_INTERVAL_MS: 400 };
            const made = await visit(context, browser, { options: { ...options, increaseBounceIv: 100_000 }, settings });
            const { gate, site, tab, profile, listensOver, ids } = made;
            await listensOver(transport);
            await site.sayMany(3);
            await tab.waitForFunction(() => window.numbers.length === 3);
            // Two heartbeats, or a poll that had to wait, tell how often the server lets hear from itself.
            await tab.waitForFunction(() => {
                const { listener } = window.connection._listening;
                return (listener.rhythm ?? listener).longestMs !== null;
            });
            await profile.setOffline(true);
            gate.vanish();
            assert.equal(await tab.evaluate(() => navigator.onLine), false);
            await site.sayMany(10);
            await tab.waitForFunction(() => window.connection.state === 'reconnecting');
            gate.comeBack();
            await profile.setOffline(false);
            await listensOver(transport);
            await site.sayMany(3);
            await tab.waitForFunction(() => window.numbers.at(-1) === 15);
            assert.equal(await ids(), 1);
            // What the server's system took for a dead socket is lost for it; the history has it.
            await tab.waitForFunction(() => window.told.length >= 16);
            const all = [...Array(16).keys()];
            assert.deepEqual((await tab.evaluate(() => window.told)).sort((one, other) => one - other), all);
            const kept = await tab.evaluate(() => window.connection.channel('lobby').messages.map((m) => m.message.number));
            assert.deepEqual(kept, all);
        });

        test('a page from the back/forward cache goes on where it was', async (context) => {
            const { site, tab, listensOver, hasAll, ids, log } = await visit(context, browser, { options });
            await listensOver(transport);
            await site.sayMany(3);
            await hasAll();
            await tab.goto(`${site.url}/elsewhere`);
            await site.sayMany(5);
            await tab.evaluate(() => history.back());
            await tab.waitForFunction(() => window.connection?.connected);
            assert.ok((await log()).includes('pageshow persisted'), 'the browser has kept the page');
            await site.sayMany(2);
            await hasAll();
            assert.equal(await ids(), 1);
        });

        test('a page that was hidden and frozen goes on', async (context) => {
            const { site } = await visit(context, browser, { options, path: '/elsewhere' });
            const tabs = await Tabs.of(browser);
            const tab = await tabs.open(site.url);
            await tab.waitFor(`window.connection?.transport === '${transport}'`);
            const other = await tabs.open(`${site.url}/elsewhere`);
            await tab.waitFor("document.visibilityState === 'hidden'");
            await site.sayMany(3);
            await tab.waitFor('numbers.length === 3');
            await tab.lifecycle('frozen');
            await tab.waitFor("log.includes('freeze')");
            await site.sayMany(5);
            await tab.lifecycle('active');
            await tab.show();
            await site.sayMany(2);
            await tab.waitFor('numbers.at(-1) === 9');
            assert.deepEqual(await tab.evaluate('numbers'), [...Array(10).keys()]);
            assert.deepEqual(await tab.evaluate('log.filter((line) => /^(freeze|resume|visible)/.test(line))'),
                ['freeze', 'resume', 'visible']);
            assert.equal(await tab.evaluate('ids.size'), 1);
            await other.close();
            await tab.close();
        });

        test('a page that is shown does not wait for its next attempt', async (context) => {
            const { gate, site } = await visit(context, browser, { options: { ...options, increaseBounceIv: 1e9 }, path: '/elsewhere' });
            const tabs = await Tabs.of(browser);
            const tab = await tabs.open(site.url);
            await tab.waitFor(`window.connection?.transport === '${transport}'`);
            const other = await tabs.open(`${site.url}/elsewhere`);
            await tab.evaluate('connection.maxReconnectDelayMs = 1e9');
            await gate.breakAll();
            await tab.waitFor("connection.state === 'reconnecting'");
            await tab.show();
            await tab.waitFor('connection.connected');
            assert.equal(await tab.evaluate('ids.size'), 1);
            await other.close();
            await tab.close();
        });

        test('who is there is known, also after others came and went', async (context) => {
            const { site, tab, listensOver } = await visit(context, browser, { options });
            await listensOver(transport);
            const members = (wanted) => tab.waitForFunction(
                (names) => window.connection.channel('lobby').members.map(({ user }) => user).join() === names, wanted);
            await members('ada');
            const { conn_id: id } = await site.call('/connect', { username: 'bob', channels: ['lobby'] });
            await members('ada,bob');
            await site.call('/user_state', { user: 'bob', user_state: { color: 'red' }, state_public_keys: ['color'] });
            await tab.waitForFunction(() => window.connection.channel('lobby').members[1].state.color === 'red');
            await site.call('/disconnect', { conn_id: id });
            await members('ada');
        });
    });
}
