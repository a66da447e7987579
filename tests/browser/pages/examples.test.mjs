/** The examples, used by two people at the same time. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { checkAccessibility } from '../support/axe.js';
import { launch } from '../support/browser.mjs';
import { Example } from '../support/example.mjs';
import { SECRET, Server } from '../support/server.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
let browser;

before(async () => { browser = await launch(); });
after(() => browser?.close());

/** Opens the example for several people, each with a separate profile. */
async function open(example, names, signIn) {
    const pages = [];
    for (const name of names) {
        const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
        const page = await context.newPage();
        page.problems = [];
        page.on('pageerror', (error) => page.problems.push(error.message));
        await page.goto(example.url);
        await page.locator('body[data-ready="true"]').waitFor();
        await page.fill('#name', name);
        await page.click(signIn);
        await page.locator('#state[data-state="open"]').waitFor();
        pages.push(page);
    }
    return pages;
}

async function looksRight(page) {
    await checkAccessibility(page);
    await page.setViewportSize({ width: 360, height: 700 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 360);
    await page.emulateMedia({ colorScheme: 'dark' });
    await checkAccessibility(page);
    assert.deepEqual(page.problems, []);
}

for (const [program, path] of [['python3', 'examples/chat/app.py'], ['node', 'examples/chat/app.mjs']]) {
    describe(`the chat, ${path}`, () => {
        let server;
        let example;
        let ada;
        let bob;
        const line = (page, text) => page.locator('#messages li', { hasText: text });

        before(async () => {
            server = await Server.start({ demo: false });
            example = await Example.start(server, program, path);
            [ada, bob] = await open(example, ['ada', 'bob'], '#sign-in button');
        });
        after(async () => {
            await example?.stop();
            await server?.stop();
        });

        test('people see who joins and the status of others', async () => {
            await line(ada, 'bob joined').waitFor();
            await ada.locator('#people li', { hasText: 'bob here' }).waitFor();
            await bob.selectOption('#status', 'busy');
            await ada.locator('#people li', { hasText: 'bob busy' }).waitFor();
        });

        test('a message can be sent, edited and deleted', async () => {
            await ada.fill('#text', 'good mornig');
            await ada.press('#text', 'Enter');
            await line(bob, 'ada: good mornig').waitFor();
            assert.equal(await line(bob, 'good mornig').locator('button').count(), 0);
            ada.once('dialog', (dialog) => dialog.accept('good morning'));
            await line(ada, 'good mornig').getByText('Edit').click();
            await line(bob, 'ada: good morning (edited)').waitFor();
            await line(ada, 'good morning').getByText('Delete').click();
            await line(bob, 'good morning').waitFor({ state: 'detached' });
        });

        test('the application refuses changes to messages of other users', async () => {
            await ada.fill('#text', 'mine');
            await ada.press('#text', 'Enter');
            await line(bob, 'ada: mine').waitFor();
            const sent = bob.waitForResponse((reply) => reply.url().endsWith('/message'));
            const [status] = await Promise.all([bob.evaluate(async () => {
                const reply = await fetch('message', { method: 'DELETE', headers: { 'content-type': 'application/json' },
                    body: JSON.stringify({ uuid: '00000000-0000-4000-8000-000000000000' }) });
                return reply.status;
            }), sent]);
            assert.equal(status, 403);
        });

        test('a private message reaches its recipient and its sender', async () => {
            await ada.selectOption('#to', 'bob');
            await ada.fill('#text', 'between us');
            await ada.press('#text', 'Enter');
            await line(bob, 'ada to bob: between us').waitFor();
            await line(ada, 'ada to bob: between us').waitFor();
        });

        test('rooms are separate and keep their messages', async () => {
            await bob.getByRole('button', { name: 'random' }).click();
            await line(ada, 'bob left').waitFor();
            await bob.fill('#text', 'over here');
            await bob.press('#text', 'Enter');
            await line(bob, 'bob: over here').waitFor();
            await ada.getByRole('button', { name: 'random' }).click();
            await line(ada, 'bob: over here').waitFor();
        });

        test('people reconnect after a restart of the server', async () => {
            await server.kill();
            await server.launch();
            await ada.locator('#state[data-state="open"]').waitFor();
            await bob.locator('#state[data-state="open"]').waitFor();
            await ada.locator('#people li', { hasText: 'bob' }).waitFor();
            await bob.fill('#text', 'still here');
            await bob.press('#text', 'Enter');
            await line(ada, 'bob: still here').waitFor();
        });

        test('a name cannot be used twice', async () => {
            const page = await browser.newPage();
            await page.goto(example.url);
            await page.locator('body[data-ready="true"]').waitFor();
            await page.fill('#name', 'ada');
            await page.click('#sign-in button');
            await page.locator('#problem', { hasText: 'Another user has this name.' }).waitFor();
        });

        test('the page is accessible', () => looksRight(ada));
    });
}

describe('the notifications', () => {
    let server;
    let example;
    let ada;
    let bob;
    const item = (page, text) => page.locator('#list li', { hasText: text });

    before(async () => {
        server = await Server.start({ demo: false });
        example = await Example.start(server, 'python3', 'examples/notifications/app.py');
        [ada, bob] = await open(example, ['ada', 'bob'], '#sign-in button');
    });
    after(async () => {
        await example?.stop();
        await server?.stop();
    });

    test('the page shows the name of a signed-in user and hides the form', async () => {
        await ada.getByText('Signed in as ada').waitFor();
        assert.ok(await ada.locator('#sign-in').isHidden());
        assert.ok(await ada.locator('#text').evaluate((field) => field === document.activeElement));
    });

    test('a notification reaches all users or one user', async () => {
        await ada.fill('#text', 'Lunch is ready');
        await ada.click('#sender button');
        await item(ada, 'Lunch is ready').waitFor();
        await item(bob, 'Lunch is ready').waitFor();
        await ada.fill('#text', 'Your parcel is here');
        await ada.fill('#to', 'bob');
        await ada.selectOption('#level', 'warning');
        await ada.click('#sender button');
        await item(bob, 'Your parcel is here for you alone').waitFor();
        assert.equal(await bob.textContent('#unread'), '2');
        assert.equal(await ada.textContent('#unread'), '1');
        await bob.click('#read');
        assert.equal(await bob.textContent('#unread'), '0');
    });

    test('a background job sends a notification', async () => {
        const environment = { ...process.env, CHANNELSTREAM_URL: server.url, CHANNELSTREAM_SECRET: SECRET };
        const uuid = execFileSync('python3', ['examples/notifications/notify.py', 'Backup finished', '--level', 'success'],
            { cwd: root, env: environment, encoding: 'utf8' });
        assert.match(uuid, /^[0-9a-f-]{36}\n$/);
        await item(ada, 'Backup finished').waitFor();
    });

    test('a later user sees the last notifications as read', async () => {
        const [eve] = await open(example, ['eve'], '#sign-in button');
        await item(eve, 'Lunch is ready').waitFor();
        assert.equal(await item(eve, 'parcel').count(), 0);
        assert.equal(await eve.textContent('#unread'), '0');
    });

    test('the page is accessible', () => looksRight(bob));
});
