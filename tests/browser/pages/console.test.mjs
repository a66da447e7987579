/** The console in a real browser, used as an operator uses it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { call, signedToken } from '../support/api.mjs';
import { checkAccessibility } from '../support/axe.js';
import { Tab, launch } from '../support/browser.mjs';
import { open as openSocket } from '../support/crowd.mjs';
import { ADMIN, SECRET, Server } from '../support/server.mjs';
import { Visitor } from '../support/visitor.mjs';

const CHANNELS = 120;

let browser;
let server;
let ada;
let bob;
let tab;
let page;

before(async () => {
    browser = await launch();
    server = await Server.start();
    const names = Array.from({ length: CHANNELS }, (_, index) => `room ${String(index).padStart(3, '0')}`);
    await call(server, '/channel_config', Object.fromEntries(names.map((name) => [name, { store_history: true }])));
    ada = await Visitor.join(browser, server, 'ada', 'websocket');
    bob = await Visitor.join(browser, server, 'bob', 'longpoll');
    await ada.say('for the history');
    tab = await Tab.open(browser, server, { viewport: { width: 1280, height: 900 } });
    ({ page } = tab);
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

async function signIn() {
    await page.getByLabel('User name').fill(ADMIN.username);
    await page.getByLabel('Password').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL('**/admin');
    await live();
}

const live = () => page.locator('#state[data-state="open"]').waitFor();
const section = (name) => page.locator('#sections').getByRole('link', { name });
const row = (list, text) => page.locator(`#${list} tbody tr`).filter({ hasText: text });
const names = (list) => page.locator(`#${list} tbody th`).allTextContents();

async function open(hash) {
    await page.evaluate((to) => { location.hash = to; }, hash);
}

/** Checks, for a phone and a large screen, light and dark, that nothing overflows and that axe finds no problem. */
async function inspect(name) {
    await tab.portray(name);
    const size = page.viewportSize();
    for (const width of [1_920, 360]) {
        await page.setViewportSize({ width, height: size.height });
        for (const colorScheme of ['light', 'dark']) {
            await page.emulateMedia({ colorScheme });
            await checkAccessibility(page);
        }
    }
    await page.setViewportSize(size);
    tab.assertNoProblems();
}

test('the sign-in page signs the operator in', async () => {
    await tab.go('/admin/sign_in');
    await inspect('sign-in');
    await signIn();
});

test('the overview shows figures and their history', async () => {
    await page.locator('[data-counter="total_connections"]', { hasText: '2' }).waitFor();
    assert.equal(await page.locator('[data-counter="total_channels"]').textContent(), String(CHANNELS + 1));
    // Two samples make a line, which the chart draws on a canvas and describes in words.
    const chart = page.locator('[data-chart="connections"]');
    await page.waitForFunction(() => /highest 2\b/.test(
        document.querySelector('[data-chart="connections"]').getAttribute('aria-label')));
    await chart.locator('canvas').waitFor();
    assert.match(await page.locator('[data-chart="memory_bytes"]').getAttribute('aria-label'), /now \d+ MB/);
    await page.locator('[data-chart="refusals_per_s"] canvas').waitFor();
    await page.locator('[data-chart="closes_per_s"] canvas').waitFor();
    await page.getByRole('button', { name: '3 hours' }).click();
    await page.locator('button[aria-pressed="true"]', { hasText: '3 hours' }).waitFor();
    await page.getByRole('button', { name: '10 minutes' }).click();
    await inspect('console-overview');
});

test('channels can be searched, sorted and paged', async () => {
    await section('Channels').click();
    await row('channels', 'room 000').waitFor();
    await page.getByText(`1–50 of ${CHANNELS + 1}`).waitFor();
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText(`51–100 of ${CHANNELS + 1}`).waitFor();
    await page.getByRole('button', { name: 'Connections' }).click();
    await page.getByText(`1–50 of ${CHANNELS + 1}`).waitFor();
    assert.equal((await names('channels'))[0], 'demo:lobby');
    assert.equal(await page.locator('th[aria-sort="descending"]').textContent(), 'Connections');
    await inspect('console-channels');
    await page.getByLabel('Search channels').fill('ROOM 01');
    await page.getByText('1–10 of 10 found').waitFor();
    assert.equal(new URL(page.url()).hash, '#/channels?search=ROOM+01&sort=-connections');
    await page.getByLabel('Search channels').fill('nowhere');
    await page.getByText('No channels found.').waitFor();
    await page.getByLabel('Search channels').fill('');
    await row('channels', 'demo:lobby').waitFor();
    tab.assertNoProblems();
});

test('the keyboard opens a row, and the page announces the new place', async () => {
    await row('channels', 'demo:lobby').getByRole('link').focus();
    await page.keyboard.press('Enter');
    const heading = page.getByRole('heading', { level: 1, name: 'demo:lobby' });
    await heading.waitFor();
    assert.ok(await heading.evaluate((element) => element === document.activeElement));
    assert.match(await page.title(), /^Channel demo/);
    await page.goBack();
    await row('channels', 'demo:lobby').waitFor();
    await page.goForward();
    await heading.waitFor();
});

test('the page of a channel shows its frames as they arrive', async () => {
    await page.locator('.state', { hasText: 'Watching' }).waitFor();
    await ada.say('do you see this?');
    const frame = page.locator('.frames li[data-uuid]').filter({ hasText: 'do you see this?' }).first();
    await frame.waitFor();
    await frame.locator('summary').click();
    await frame.getByText('"user": "demo:ada"').waitFor();
    await ada.say('only for bob', 'bob');
    await page.locator('.frames li[data-uuid]').filter({ hasText: 'not for all' }).first().waitFor();
    await inspect('console-channel');
});

test('a test message is sent, and invalid JSON is reported', async () => {
    await page.getByLabel('Message (JSON)').fill('{"text": ');
    await page.getByRole('button', { name: 'Send to 2 connections' }).click();
    await page.getByRole('alert').filter({ hasText: 'This is not JSON' }).waitFor();
    await page.getByLabel('Message (JSON)').fill('{"text": "the console speaks"}');
    await page.getByRole('button', { name: 'Send to 2 connections' }).click();
    await Promise.all([ada.sees('the console speaks'), bob.sees('the console speaks')]);
    await page.getByText('The message was sent.').first().waitFor();
    await page.getByLabel('Only to these users').fill('demo:bob, nobody');
    await page.getByLabel('Message (JSON)').fill('{"text": "for bob alone"}');
    await page.getByRole('button', { name: 'Send to 2 connections' }).click();
    await bob.sees('for bob alone');
    assert.equal(await ada.line('for bob alone').count(), 0);
    tab.assertNoProblems();
});

test('settings can be changed, and a loss of data needs a confirmation', async () => {
    await page.getByLabel('Messages kept at most').fill('1');
    await page.getByRole('button', { name: 'Save' }).click();
    const dialog = page.getByRole('dialog', { name: 'Change the settings?' });
    await dialog.getByText('messages of the history').waitFor();
    await inspect('console-confirm');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    const settings = async () => (await call(server, '/info', { info: { channels: ['demo:lobby'] } })).channels['demo:lobby'].settings;
    assert.equal((await settings()).history_size, 50);
    await page.getByRole('button', { name: 'Restore' }).click();
    assert.equal(await page.getByLabel('Messages kept at most').inputValue(), '50');
    await page.getByLabel('Messages kept at most').fill('60');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('The settings were changed.').first().waitFor();
    assert.equal((await settings()).history_size, 60);
    tab.assertNoProblems();
});

test('connections show their address and state', async () => {
    await section('Connections').click();
    await row('connections', 'demo:ada').getByText('websocket').waitFor();
    await row('connections', 'demo:ada').getByText('127.0.0.1').waitFor();
    await row('connections', 'demo:bob').waitFor();
    // Searches for the whole id, because the search includes ids, which may contain a short name.
    await page.getByLabel('Search connections').fill(await row('connections', 'demo:ada').getAttribute('data-key'));
    await row('connections', 'demo:bob').waitFor({ state: 'detached' });
    await inspect('console-connections');
});

test('the flight recorder shows why a message arrived or not', async () => {
    await row('connections', 'demo:ada').getByRole('link', { name: /^Connection / }).click();
    await page.getByRole('heading', { name: 'Connection of demo:ada' }).waitFor();
    await page.getByRole('button', { name: 'Record this connection' }).click();
    await page.locator('[data-event="attached"]').waitFor();
    const body = [{ channel: 'demo:lobby', user: 'test', message: { text: 'for all' } }];
    const [sent] = await call(server, '/message', body);
    const [other] = await call(server, '/message', [{ ...body[0], pm_users: ['demo:bob'], no_history: true }]);
    await page.locator('[data-outcome="sent"]').first().waitFor();
    await page.locator('[data-outcome="not_meant"]').first().waitFor();
    await page.getByLabel('Find a message by its id').fill(other.uuid);
    const only = page.locator('.frames li');
    await page.waitForFunction(() => document.querySelectorAll('.frames li').length === 1);
    await only.locator('summary').click();
    await only.getByText('only for other users').waitFor();
    await page.getByLabel('Find a message by its id').fill(sent.uuid.replaceAll(/\d/g, '0'));
    await page.getByText('No recorded event has this id.').waitFor();
    await page.getByLabel('Find a message by its id').fill('');
    await inspect('console-connection');
    // The recording continues while the operator looks at another page.
    await section('Overview').click();
    await page.locator('[data-chart="connections"]').waitFor();
    await page.goBack();
    await page.locator('[data-event="attached"]').waitFor();
    await page.getByRole('button', { name: 'Stop and discard…' }).click();
    await page.getByRole('button', { name: 'Stop and discard', exact: true }).click();
    await page.getByRole('button', { name: 'Record this connection' }).waitFor();
    tab.assertNoProblems();
});

test('the page of a connection shows its token, and what became of it', async () => {
    const id = '7c3d5a0e-4c5c-4b7e-9d5e-0c8a8f1f2a3b';
    await call(server, '/connect', { username: 'fay', conn_id: id, channels: ['demo:lobby'] });
    await open(`#/connection/${id}`);
    await page.getByText('The connection does not expire.').waitFor();
    await page.getByRole('button', { name: 'Record this connection' }).click();
    await page.getByText('There are no events yet.').waitFor();
    const positions = JSON.stringify({ 'demo:lobby': '00000000.7' });
    const socket = await openSocket(server, id, { token: signedToken('fay', 90), resume: 1, positions });
    await page.locator('[data-event="token_accepted"]').waitFor();
    const lobby = page.locator('[data-event="listening"]', { hasText: 'demo:lobby' });
    await lobby.getByText('its position is from before a restart').waitFor();
    await page.getByText(/^expires in (1 min|[0-9]+ s)$/).waitFor();
    const replace = (seconds) => fetch(`${server.url}/token`, {
        method: 'POST',
        body: JSON.stringify({ conn_id: id, token: signedToken('fay', seconds) }),
    });
    assert.equal((await replace(-60)).status, 401);
    await page.locator('[data-event="token_refused"]').getByText('it has expired').waitFor();
    // Such a token is accepted for three to four seconds, because of the tolerance.
    assert.equal((await replace(-1)).status, 200);
    await page.locator('[data-event="closed"]').getByText('Closed with 4005: token expired').waitFor();
    await page.locator('.facts .badge', { hasText: 'expired' }).waitFor();
    await inspect('console-token');
    socket.destroy();
    tab.assertNoProblems();
});

test('a user can be viewed, and disconnected after a confirmation', async () => {
    await section('Users').click();
    await row('users', 'demo:ada').waitFor();
    await inspect('console-users');
    await row('users', 'demo:ada').getByRole('link').click();
    await page.getByRole('heading', { name: 'demo:ada' }).waitFor();
    await page.getByText('"color"').waitFor();
    await inspect('console-user');
    await page.getByRole('button', { name: 'Disconnect…' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await row('connections', 'websocket').waitFor();
    await page.getByRole('button', { name: 'Disconnect…' }).click();
    await page.getByRole('button', { name: 'Disconnect', exact: true }).click();
    await page.getByText('1 connection closed.').waitFor();
    // The disconnected page reconnects by itself, as a new connection.
    await ada.state('open');
    tab.assertNoProblems();
});

test('the page of a connection reports that it has ended', async () => {
    const id = '5b1d5a0e-4c5c-4b7e-9d5e-0c8a8f1f2a3b';
    await call(server, '/connect', { username: 'eve', conn_id: id, channels: ['demo:lobby'] });
    tab.toleratesNetworkErrors = true;
    await open(`#/connection/${id}`);
    await page.getByRole('heading', { name: 'Connection of eve' }).waitFor();
    await page.getByRole('button', { name: 'Disconnect…' }).click();
    await page.getByRole('button', { name: 'Disconnect', exact: true }).click();
    await page.getByText('This connection has ended.').waitFor();
    await open('#/channel/never%20made');
    await page.getByRole('alert').filter({ hasText: 'this no longer exists' }).waitFor();
    tab.toleratesNetworkErrors = false;
    tab.assertNoProblems();
});

test('the limits page shows bounds, counts and times, and why websockets were closed', async () => {
    await section('Limits').click();
    const slow = row('limits', 'max_queued_bytes');
    await slow.getByText('1 MiB').waitFor();
    await row('limits', 'Maximum number of connections, with or without').first().getByText('none').waitFor();
    // Seven settings share the counter for fields of bodies.
    const shared = row('limits', 'max_channel_name_length').locator('td[rowspan="7"]');
    await shared.first().getByText('all fields that failed validation').waitFor();
    const before = Number.parseInt(await shared.first().textContent(), 10);
    await assert.rejects(call(server, '/message', 'nonsense'), /answered 422/);
    await page.waitForFunction(([before]) => {
        const shown = document.querySelector('[data-key="max_channel_name_length"] td[rowspan]').textContent;
        return Number.parseInt(shown, 10) === before + 1;
    }, [before]);
    assert.match(await shared.last().textContent(), /^\s*\d+ s ago\s*$/);
    // The user that was disconnected above, and the connection that never opened a session.
    const ended = row('closed', 'the connection was ended');
    assert.match(await ended.textContent(), /1000[^]*ended[^]*[1-9][^]*ago/);
    await row('refused', 'refused_origin').getByText('allowed_origins').waitFor();
    // The tests above refused a token, and a page returned with a position that the server does not know.
    assert.match(await row('refused', 'refused_token_expired').textContent(), /[^]*1[^]*ago/);
    assert.match(await row('not-recovered', 'not_recovered_epoch').textContent(), /[^]*1[^]*ago/);
    await inspect('console-limits');
    // Reached limits come first.
    assert.match((await names('limits'))[0], /^max_channel_name_length/);
    tab.assertNoProblems();
});

test('the secrets page shows how often and from where a secret was used', async () => {
    await section('Secrets').click();
    const used = row('secrets', '127.0.0.1');
    await used.waitFor();
    const requests = async () => Number((await used.locator('td').nth(1).textContent()).replace(/\D/g, ''));
    const before = await requests();
    await call(server, '/info', { info: {} });
    await page.waitForFunction(([before]) => {
        const shown = document.querySelector('#secrets tbody td:nth-of-type(2)').textContent;
        return Number(shown.replace(/\D/g, '')) > before;
    }, [before]);
    assert.match(await used.textContent(), /[0-9a-f]{8}/);
    assert.ok(!(await page.content()).includes(SECRET));
    await inspect('console-secrets');
});

test('the polls of all pages are small', async () => {
    const bodies = [];
    const measure = (answer) => {
        if (new URL(answer.url()).pathname.endsWith('.json')) {
            // An aborted request has no body.
            bodies.push(answer.body().catch(() => ''));
        }
    };
    page.on('response', measure);
    for (const name of ['Channels', 'Users', 'Connections', 'Limits', 'Secrets', 'Overview']) {
        const answered = page.waitForResponse((answer) => answer.url().includes('.json'));
        await section(name).click();
        await answered;
    }
    page.off('response', measure);
    const sizes = (await Promise.all(bodies)).map((body) => body.length);
    assert.ok(sizes.length >= 6 && Math.max(...sizes) < 100_000, String(sizes));
});

test('the console reports that the sign-in has ended', async () => {
    await tab.context.clearCookies();
    await page.getByRole('link', { name: 'Sign in again' }).waitFor();
    await tab.portray('console-signed-out');
    await page.getByRole('link', { name: 'Sign in again' }).click();
    await signIn();
    tab.assertNoProblems();
});

test('the console reports an unreachable server and recovers', async () => {
    for (const tolerant of [tab, ada.tab, bob.tab]) {
        tolerant.toleratesNetworkErrors = true;
    }
    await server.kill('SIGKILL');
    await page.locator('#state[data-state="lost"]').waitFor();
    await server.launch();
    // The sign-in may survive the restart or not. In both cases the page must remove the error or explain it.
    const again = page.getByRole('link', { name: 'Sign in again' });
    await page.locator('#state[data-state="open"]').or(again).first().waitFor();
    if (await again.isVisible()) {
        await again.click();
        await signIn();
    }
    tab.toleratesNetworkErrors = false;
    tab.assertNoProblems();
});

test('signing out leads to the sign-in page', async () => {
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL('**/admin/sign_in');
    await tab.go('/admin');
    await page.getByLabel('Password').waitFor();
});

test('a client that guesses passwords must wait', async () => {
    tab.toleratesNetworkErrors = true;
    for (let tries = 0; tries < 6; tries += 1) {
        await page.getByLabel('User name').fill('admin');
        await page.getByLabel('Password').fill(`guess ${tries}`);
        await page.getByRole('button', { name: 'Sign in' }).click();
        await page.getByRole('alert').filter({ hasText: /\w/ }).waitFor();
    }
    await page.getByRole('alert').filter({ hasText: /Try again in \d+ seconds/ }).waitFor();
    tab.toleratesNetworkErrors = false;
    tab.assertNoProblems();
});
