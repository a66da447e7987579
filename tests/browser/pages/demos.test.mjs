/** The pages of the small websocket programs in real browsers. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { checkAccessibility } from '../support/axe.js';
import { Tab, launch } from '../support/browser.mjs';
import { Server } from '../support/server.mjs';

let browser;
let server;
let tabs = [];

before(async () => {
    browser = await launch();
    server = await Server.start();
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

afterEach(async () => {
    const seen = tabs;
    tabs = [];
    await Promise.all(seen.map((tab) => tab.close()));
    seen.forEach((tab) => tab.assertNoProblems());
});

/** Opens a page in a tab, and waits until its socket is in this state. */
async function visit(path, state) {
    const tab = await Tab.open(browser, server);
    tabs.push(tab);
    await tab.go(path);
    if (state) {
        await inState(tab, state);
    }
    return tab;
}

const inState = ({ page }, state) => page.locator(`#state[data-state="${state}"]`).waitFor();
const lines = ({ page }) => page.locator('#log li').allTextContents();
const logged = ({ page }, text) => page.locator('#log li', { hasText: text }).first().waitFor();

async function looksWell(tab, name) {
    await tab.portray(name);
    await tab.page.setViewportSize({ width: 1920, height: 1000 });
    await checkAccessibility(tab.page);
}

test('the front page links to the list, and the list to every demo', async () => {
    const tab = await visit('/');
    await tab.page.getByRole('link', { name: /websocket programs/ }).click();
    await tab.page.waitForURL('**/demo/');
    await looksWell(tab, 'demos');
    const links = tab.page.locator('main .grid a');
    assert.equal(await links.count(), 4);
    for (const [index, heading] of ['Echo', 'Chat', 'Channel board', 'Guarded echo'].entries()) {
        await links.nth(index).click();
        await tab.page.getByRole('heading', { level: 1, name: heading }).waitFor();
        await tab.page.getByRole('link', { name: 'All demos' }).click();
    }
});

describe('the echo', () => {
    const send = async (tab, kind, text) => {
        await tab.page.getByLabel('As', { exact: true }).selectOption(kind);
        await tab.page.getByLabel('Message', { exact: true }).fill(text);
        await tab.page.getByRole('button', { name: 'Send', exact: true }).click();
    };

    test('returns text, JSON and bytes', async () => {
        const tab = await visit('/demo/echo', 'open');
        await send(tab, 'text', 'žluťoučký <b>kůň</b>');
        await logged(tab, 'text "žluťoučký <b>kůň</b>", the same after');
        await send(tab, 'json', '{"a": [1, null]}');
        await logged(tab, 'text "{\\"a\\":[1,null]}", the same after');
        await send(tab, 'bytes', '00 ff');
        await logged(tab, 'bytes 00 ff, the same after');
        await send(tab, 'bytes', '');
        await logged(tab, 'bytes (none), the same after');
        await tab.page.getByRole('button', { name: 'Send 1 MiB of bytes' }).click();
        await logged(tab, '1048576 bytes, the same after');
        assert.equal((await lines(tab)).length, 5);
        await looksWell(tab, 'echo');
    });

    test('reports invalid input, and a missing connection after a disconnect', async () => {
        const tab = await visit('/demo/echo', 'open');
        const problem = tab.page.getByRole('alert');
        await send(tab, 'json', '{');
        assert.match(await problem.textContent(), /JSON/);
        await send(tab, 'bytes', '0g');
        assert.match(await problem.textContent(), /hexadecimal/);
        await tab.page.getByRole('button', { name: 'Disconnect' }).click();
        await inState(tab, 'lost');
        assert.equal(await tab.page.locator('#state').textContent(), 'Closed (1000)');
        await send(tab, 'text', 'hello?');
        assert.equal(await problem.textContent(), 'There is no connection.');
        await tab.page.getByRole('button', { name: 'Connect' }).click();
        await inState(tab, 'open');
        await send(tab, 'text', 'hello!');
        await logged(tab, 'text "hello!", the same after');
        assert.equal(await tab.page.locator('#problem').textContent(), '');
    });
});

describe('the chat', () => {
    const say = async (tab, text) => {
        await tab.page.getByLabel('Message', { exact: true }).fill(text);
        await tab.page.keyboard.press('Enter');
    };

    test('sends every message to all visitors', async () => {
        const [ada, bob] = [await visit('/demo/chat', 'open'), await visit('/demo/chat', 'open')];
        await ada.page.getByLabel('Your name').fill('ada');
        await say(ada, 'hello');
        await Promise.all([logged(ada, 'ada: hello'), logged(bob, 'ada: hello')]);
        await bob.page.getByLabel('Your name').fill('');
        await say(bob, '<img src=x onerror=alert(1)>');
        await logged(ada, '<img src=x onerror=alert(1)>');
        for (let turn = 0; turn < 20; turn += 1) {
            await say(turn % 2 ? ada : bob, `message ${turn}`);
            await logged(ada, `message ${turn}`);
            await logged(bob, `message ${turn}`);
        }
        assert.deepEqual(await lines(ada), await lines(bob));
        const newest = await ada.page.locator('#log li').last().boundingBox();
        const log = await ada.page.locator('#log').boundingBox();
        assert.ok(newest.y + newest.height <= log.y + log.height, 'the newest line is visible');
        await looksWell(ada, 'chat');
    });

    test('works with the keyboard alone', async () => {
        const { page } = await visit('/demo/chat', 'open');
        const order = [];
        for (let step = 0; step < 10; step += 1) {
            await page.keyboard.press('Tab');
            order.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
        }
        assert.deepEqual(order.slice(0, 1), ['Skip to content']);
        assert.deepEqual(order.slice(-4), ['log', 'name', 'message', 'Send']);
    });
});

describe('the channel board', () => {
    const answer = ({ page }) => page.locator('#answer');
    const answered = (tab, text) => answer(tab).filter({ hasText: text }).waitFor();
    const row = ({ page }, name) => page.locator('#channels li').filter({ has: page.getByText(name, { exact: true }) });

    async function create(tab, name) {
        await tab.page.getByLabel('New channel').fill(name);
        await tab.page.getByRole('button', { name: 'Create' }).click();
    }

    async function push(tab, name, value) {
        await tab.page.getByLabel('Push to').selectOption(name);
        await tab.page.getByLabel('A value, as JSON').fill(value);
        await tab.page.getByRole('button', { name: 'Push' }).click();
    }

    test('shows new and deleted channels, and values only to subscribers', async () => {
        const [ada, bob] = [await visit('/demo/board/', 'open'), await visit('/demo/board/', 'open')];
        await ada.page.getByText('There are no channels yet.').waitFor();
        await create(ada, 'news');
        await answered(ada, '200: Done');
        await create(ada, 'žluť/<b>');
        await Promise.all([ada, bob].flatMap((tab) => ['news', 'žluť/<b>'].map((name) => row(tab, name).waitFor())));
        await create(ada, 'news');
        await answered(ada, '400: Missing or invalid channel identifier');
        await row(bob, 'news').getByRole('checkbox').check();
        // No frame confirms a subscription, and earlier values do not reach the subscriber.
        await assert.doesNotReject(async () => {
            while (!(await lines(bob)).some((line) => line.includes('"msg"'))) {
                await push(ada, 'news', '{"text": "hello"}');
                await answered(ada, '200: Done');
            }
        });
        assert.ok((await lines(bob)).includes('{"t":"msg","id":"news","msg":{"text":"hello"}}'));
        assert.ok(!(await lines(ada)).some((line) => line.includes('"msg"')), 'Ada has not subscribed');
        await push(ada, 'news', '{"text": ');
        await answered(ada, '422: {"_schema":["Invalid JSON: ');
        await looksWell(bob, 'board');
        await row(bob, 'news').getByRole('button', { name: 'Delete news' }).click();
        await Promise.all([ada, bob].map((tab) => row(tab, 'news').waitFor({ state: 'detached' })));
        await logged(ada, '{"t":"del","id":"news"}');
        // The browser logs refused requests itself.
        ada.problems = ada.problems.filter((problem) => !problem.startsWith('console: Failed to load resource'));
    });

    test('reconnects after a restart of the server', async () => {
        const tab = await visit('/demo/board/', 'open');
        await create(tab, 'before');
        await row(tab, 'before').waitFor();
        tab.toleratesNetworkErrors = true;
        await server.kill('SIGKILL');
        await inState(tab, 'lost');
        await server.launch();
        await inState(tab, 'open');
        await tab.page.getByText('There are no channels yet.').waitFor();
        tab.toleratesNetworkErrors = false;
        await create(tab, 'after');
        await row(tab, 'after').waitFor();
    });
});

describe('the guarded echo', () => {
    const open = ({ page }) => page.getByRole('button', { name: 'Open a socket' }).click();

    test('accepts only visitors with a token', async () => {
        const tab = await visit('/demo/guarded/');
        assert.ok(await tab.page.getByLabel('Message').isDisabled());
        tab.toleratesNetworkErrors = true;
        await open(tab);
        await logged(tab, 'The server refused the handshake.');
        await tab.page.getByLabel('Token', { exact: true }).fill('nonsense');
        await open(tab);
        await tab.page.locator('#log li', { hasText: 'refused' }).nth(1).waitFor();
        await inState(tab, 'lost');
        tab.toleratesNetworkErrors = false;
        await tab.page.getByRole('button', { name: 'Get a token' }).click();
        await logged(tab, 'Received a token, valid for 60 s.');
        await open(tab);
        await inState(tab, 'open');
        await tab.page.getByLabel('Message').fill('inside');
        await tab.page.getByRole('button', { name: 'Send' }).click();
        await logged(tab, 'Returned: inside');
        await looksWell(tab, 'guarded');
    });
});

test('without demo mode the server does not serve the pages', async () => {
    const plain = await Server.start({ demo: false });
    try {
        for (const path of ['/demo/', '/demo/echo', '/demo/chat', '/demo/board/', '/demo/guarded/']) {
            assert.equal((await fetch(plain.url + path)).status, 404, path);
        }
    } finally {
        await plain.stop();
    }
});
