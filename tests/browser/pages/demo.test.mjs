/** The live demo in real browsers: the same scenario over both transports. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Tab, launch } from '../support/browser.mjs';
import { Server } from '../support/server.mjs';
import { Visitor } from '../support/visitor.mjs';

let browser;

before(async () => { browser = await launch(); });
after(() => browser?.close());

for (const [transport, shown] of [['websocket', 'websocket'], ['longpoll', 'long-polling']]) {
    describe(`two visitors over ${shown}`, () => {
        let server;
        let ada;
        let bob;

        before(async () => {
            server = await Server.start();
            ada = await Visitor.join(browser, server, 'ada', transport);
            bob = await Visitor.join(browser, server, 'bob', transport);
        });
        after(() => server?.stop());

        const both = (step) => Promise.all([step(ada), step(bob)]);

        test('use the transport and see each other', async () => {
            await ada.notices('bob joined');
            await both((visitor) => visitor.meets('ada', 'bob'));
            assert.equal(await ada.transport(), `Connected over ${shown}`);
        });

        test('receive all messages in the same order', async () => {
            const expected = [];
            for (let turn = 0; turn < 10; turn += 1) {
                const text = `message ${turn}`;
                await (turn % 2 ? bob : ada).say(text);
                await both((visitor) => visitor.sees(text));
                expected.push(text);
            }
            assert.deepEqual(await ada.texts(), expected);
            assert.deepEqual(await bob.texts(), expected);
        });

        test('see the earlier messages after a reload', async () => {
            const before = await bob.texts();
            await bob.page.reload();
            await bob.state('open');
            await bob.sees('message 9');
            assert.deepEqual(await bob.texts(), before);
            await both((visitor) => visitor.meets('ada', 'bob'));
        });

        test('edit and delete their own messages', async () => {
            await ada.say('a slip of the pen');
            await bob.sees('a slip of the pen');
            assert.equal(await bob.line('a slip of the pen').getByRole('button').count(), 0);
            await ada.edit('a slip of the pen', 'well written');
            await both((visitor) => visitor.sees('well written'));
            await bob.line('well written').getByText('edited', { exact: true }).waitFor();
            await ada.remove('well written');
            await both((visitor) => visitor.misses('well written'));
        });

        test('show messages of others as plain text', async () => {
            const hostile = '<img src=x onerror=alert(1)> & <b>bold</b>';
            await bob.say(hostile);
            await both((visitor) => visitor.sees(hostile));
        });

        test('write to one person without a third person seeing it', async (context) => {
            const carol = await Visitor.join(browser, server, 'carol', transport);
            context.after(() => carol.close());
            await ada.meets('ada', 'bob', 'carol');
            await ada.say('between us', 'bob');
            await bob.sees('between us');
            await ada.line('between us').getByText('private, to bob').waitFor();
            await ada.edit('between us', 'between us two');
            await both((visitor) => visitor.sees('between us two'));
            await ada.say('for all');
            await carol.sees('for all');
            assert.ok(!(await carol.texts()).some((text) => text.startsWith('between us')));
            await carol.page.reload();
            await carol.sees('for all');
            assert.ok(!(await carol.texts()).some((text) => text.startsWith('between us')));
            await carol.leave();
            await ada.notices('carol left');
            await both((visitor) => visitor.meets('ada', 'bob'));
            carol.tab.assertNoProblems();
        });

        test('have pages that fit every screen', async () => {
            await ada.tab.portray(`demo-${transport}`);
            await both((visitor) => visitor.tab.assertNoProblems());
        });

        for (const signal of ['SIGTERM', 'SIGKILL']) {
            test(`reconnect after a restart of the server (${signal})`, async () => {
                await both((visitor) => { visitor.tab.toleratesNetworkErrors = true; });
                const gone = both((visitor) => visitor.state('lost'));
                await server.kill(signal);
                await gone;
                await server.launch();
                await both((visitor) => visitor.state('open'));
                await both((visitor) => visitor.meets('ada', 'bob'));
                await both((visitor) => { visitor.tab.toleratesNetworkErrors = false; });
                assert.equal(await ada.transport(), `Connected over ${shown}`);
                await ada.say(`ada is back after ${signal}`);
                await bob.sees(`ada is back after ${signal}`);
                await bob.say(`bob is back after ${signal}`);
                await ada.sees(`bob is back after ${signal}`);
            });
        }

        test('had no errors and contacted no other server', async () => {
            await both((visitor) => visitor.tab.assertNoProblems());
            await both((visitor) => visitor.close());
        });
    });
}

test('without demo mode the front page explains how to turn it on', async () => {
    const server = await Server.start({ demo: false });
    try {
        const tab = await Tab.open(browser, server);
        await tab.go('/');
        await tab.page.getByText('CHANNELSTREAM_DEMO=true').waitFor();
        assert.equal(await tab.page.getByLabel('Your name').isVisible(), false);
        await tab.portray('front');
        tab.assertNoProblems();
        await tab.close();
    } finally {
        await server.stop();
    }
});
