/** The tutorial, used as a reader uses it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { checkAccessibility } from '../support/axe.js';
import { Tab, launch } from '../support/browser.mjs';
import { SECRET, Server } from '../support/server.mjs';

let browser;
let server;
let tab;

before(async () => {
    browser = await launch();
    server = await Server.start();
    tab = await Tab.open(browser, server);
    await tab.go('/docs/first-application');
    await tab.page.locator('body[data-ready="true"]').waitFor();
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

const button = (step) => tab.page.locator(`#${step} form button`);
const frames = (step, user) => tab.page.locator(`#${step} [data-user="${user}"] .log li`);

async function run(step) {
    await button(step).click();
    await tab.page.locator(`#${step} .badge.good`).first().waitFor();
}

/** The only frame that a user received after a step. */
async function received(step, user) {
    await frames(step, user).first().waitFor();
    assert.equal(await frames(step, user).count(), 1);
    return JSON.parse(await frames(step, user).first().textContent());
}

describe('the first application', () => {
    test('reports a missing value before it sends a call', async () => {
        await button('edit').click();
        assert.equal(await tab.page.locator('#edit .error').textContent(), 'Send a message first.');
    });

    test('shows a refusal when the secret is wrong', async () => {
        tab.toleratesNetworkErrors = true;
        await tab.page.fill('#secret', 'wrong');
        await button('info').click();
        await tab.page.locator('#info .badge.bad').waitFor();
        assert.equal(await tab.page.locator('#info .error').textContent(), 'The server does not know this secret.');
        tab.toleratesNetworkErrors = false;
        await tab.page.fill('#secret', SECRET);
    });

    test('connects two listening users', async () => {
        await run('connect');
        for (const user of ['alice', 'bob']) {
            await tab.page.locator(`#connect [data-user="${user}"] h3 span`, { hasText: 'listening' }).waitFor();
        }
        await run('subscribe');
        assert.match(await tab.page.locator('#subscribe .outcome').textContent(), /"subscribed_to": \[\s*"\/tutorial-2"/);
    });

    test('sends each call and shows the frames of both users', async () => {
        await run('message');
        const [message, same] = [await received('message', 'alice'), await received('message', 'bob')];
        assert.deepEqual(message, same);
        assert.equal(message.message.text, 'This can serve as notification');

        await run('edit');
        const edit = await received('edit', 'bob');
        assert.deepEqual([edit.type, edit.uuid, edit.message.level], ['message:edit', message.uuid, 'info']);

        await run('delete');
        const gone = await received('delete', 'alice');
        assert.deepEqual([gone.type, gone.uuid], ['message:delete', message.uuid]);

        await run('private');
        assert.equal((await received('private', 'bob')).message.text, 'Only bob gets this');
        assert.equal(await frames('private', 'alice').count(), 0);

        await run('state');
        await run('info');
        const info = await tab.page.locator('#info .outcome pre').nth(1).textContent();
        const { channels, users } = JSON.parse(info);
        assert.deepEqual(channels['/tutorial-1'].users, ['alice', 'bob']);
        assert.equal(users.find(({ user }) => user === 'alice').state.status, 'away');
    });

    test('shows its code in five languages', async () => {
        for (const [file, sign] of [['python.py', 'import requests'], ['javascript.mjs', 'await call('],
            ['php.php', 'curl_init'], ['ruby.rb', 'Net::HTTP'], ['curl.sh', 'openssl dgst']]) {
            await tab.page.selectOption('#language', file);
            const samples = tab.page.locator('main .sample');
            await tab.page.locator('.sample code', { hasText: sign }).first().waitFor({ state: 'attached' });
            for (const text of await samples.allTextContents()) {
                assert.ok(text.length > 30, `${file}: ${text}`);
            }
        }
        await tab.page.selectOption('#language', 'python.py');
    });

    test('is accessible on every screen', async () => {
        await checkAccessibility(tab.page);
        await tab.page.emulateMedia({ colorScheme: 'dark' });
        await checkAccessibility(tab.page);
        await tab.portray('first-application');
        tab.assertNoProblems();
    });
});

test('the front page shows the state of the server and is accessible', async () => {
    const front = await Tab.open(browser, server);
    await front.go('/');
    await front.page.locator('#sessions', { hasText: '2' }).waitFor();
    assert.match(await front.page.locator('#alive').textContent(), /is up, version \d/);
    assert.match(await front.page.locator('#uptime').textContent(), /^\d+:\d\d:\d\d$/);
    await checkAccessibility(front.page);
    await front.page.emulateMedia({ colorScheme: 'dark' });
    await checkAccessibility(front.page);
    await front.portray('front');
    front.assertNoProblems();
});
