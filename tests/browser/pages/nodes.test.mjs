/** The console's overview of a server that is one of several nodes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { call } from '../support/api.mjs';
import { checkAccessibility } from '../support/axe.js';
import { Tab, launch } from '../support/browser.mjs';
import { open } from '../support/crowd.mjs';
import { Redis } from '../support/redis.mjs';
import { ADMIN, Server } from '../support/server.mjs';

let browser;
let redis;
let servers = [];
let tab;
let page;

before(async () => {
    browser = await launch();
    redis = await Redis.start();
    // A long spread keeps a node that stops in its first phase.
    const slow = { SHUTDOWN_SPREAD: '50s', SHUTDOWN_TIMEOUT_MS: '100s' };
    servers = await Promise.all(['north', 'south', 'west'].map((name) =>
        Server.start({ settings: { ...redis.node(name), ...slow, ...(name === 'west' ? { MAX_BLOCKS: '77' } : {}) } })));
    tab = await Tab.open(browser, servers[0], { viewport: { width: 1280, height: 900 } });
    ({ page } = tab);
    await tab.go('/admin/sign_in');
    await page.getByLabel('User name').fill(ADMIN.username);
    await page.getByLabel('Password').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL('**/admin');
});

after(async () => {
    await browser?.close();
    await Promise.all(servers.map((server) => server.stop()));
    await redis?.stop();
});

const row = (name) => page.locator('#nodes tbody tr').filter({ hasText: name });
const cell = (name, index) => row(name).locator('td').nth(index);

async function inspect(name) {
    await tab.portray(name);
    for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await checkAccessibility(page);
    }
    tab.assertNoProblems();
}

test('the overview lists all nodes, and marks the one that answers', async () => {
    await row('west').waitFor();
    for (const username of ['ada', 'bob', 'eve']) {
        const { conn_id: connId } = await call(servers[1], '/connect', { username, channels: ['news'] });
        await open(servers[1], connId);
    }
    await cell('south', 2).getByText('3', { exact: true }).waitFor();
    assert.deepEqual(await page.locator('#nodes th[scope="row"]').allTextContents(), ['north this node', 'south', 'west']);
    for (const name of ['north', 'south', 'west']) {
        await cell(name, 1).getByText('serving').waitFor();
        assert.match(await cell(name, 8).textContent(), /^[\d.]+ s ago$/);
        assert.match(await cell(name, 6).textContent(), /^[\d.]+ MB$/);
    }
    assert.equal(await page.locator('#nodes-title').textContent(), '3 nodes');
    assert.equal(await page.locator('[data-counter="total_connections"]').textContent(), '3');
    await page.locator('#nodes-differ li').getByText('west: max_blocks').waitFor();
    await inspect('console-nodes');
});

test('the lists contain what other nodes have', async () => {
    await page.getByRole('link', { name: 'Connections', exact: true }).click();
    await page.locator('#connections tbody tr').nth(2).waitFor();
    const nodes = await page.locator('#connections tbody tr td:nth-of-type(3)').allTextContents();
    assert.deepEqual(nodes, ['south', 'south', 'south']);
    await inspect('console-connections-of-nodes');
    await page.locator('#connections tbody a.mono').first().click();
    await page.getByText('The console of node south can record it.').waitFor();
    await page.getByRole('link', { name: 'Overview', exact: true }).click();
});

test('a node that stops, and one that has disappeared, are marked', async () => {
    servers[1].child.kill('SIGTERM');
    await cell('south', 1).getByText('draining').waitFor();
    servers[2].child.kill('SIGKILL');
    await row('west').waitFor({ state: 'detached' });
    assert.deepEqual(await page.locator('#nodes th[scope="row"]').allTextContents(), ['north this node', 'south']);
});

test('without Redis the last list stays, and is marked as stale', async () => {
    await redis.stop();
    await page.locator('#nodes-stale').waitFor();
    assert.equal(await page.locator('#nodes tbody tr').count(), 2);
    await inspect('console-nodes-stale');
});
