/** Chromium with checks for console errors and for requests to other hosts. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const output = fileURLToPath(new URL('../output/', import.meta.url));

const STEP_LIMIT_MS = 30_000;

/** Messages that the browser prints when a server is unreachable or refuses. Scripts cannot suppress them. */
const NETWORK_ERROR = /Failed to load resource|WebSocket connection to/;

export const launch = (options = {}) => chromium.launch({
    ...options,
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
    ],
});

/** A page in its own browser profile. */
export class Tab {
    static async open(browser, server, options = {}) {
        const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, reducedMotion: 'reduce', ...options });
        context.setDefaultTimeout(STEP_LIMIT_MS);
        const tab = new Tab(context, await context.newPage(), server);
        tab.watch();
        return tab;
    }

    constructor(context, page, server) {
        this.context = context;
        this.page = page;
        this.server = server;
        this.problems = [];
        this.toleratesNetworkErrors = false;
    }

    watch() {
        const { page, problems } = this;
        page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
        page.on('console', (message) => {
            const tolerated = this.toleratesNetworkErrors && NETWORK_ERROR.test(message.text());
            if (message.type() === 'error' && !tolerated) {
                problems.push(`console: ${message.text()}`);
            }
        });
        page.on('request', (request) => this.checkAddress(request.url()));
        page.on('websocket', (socket) => this.checkAddress(socket.url()));
    }

    checkAddress(address) {
        const url = new URL(address);
        if (url.host !== new URL(this.server.url).host && url.protocol !== 'data:') {
            this.problems.push(`outside request: ${address}`);
        }
    }

    go(path) {
        return this.page.goto(this.server.url + path);
    }

    assertNoProblems() {
        assert.deepEqual(this.problems, []);
    }

    /** Takes screenshots for people, in both colour schemes, also on a phone. Fails if the page overflows. */
    async portray(name) {
        const { page } = this;
        mkdirSync(output, { recursive: true });
        const wide = page.viewportSize();
        for (const [size, width] of [['wide', wide.width], ['phone', 360]]) {
            await page.setViewportSize({ width, height: wide.height });
            const needed = await page.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(needed <= width, `${name} needs ${needed} of ${width} pixels`);
            for (const colorScheme of ['light', 'dark']) {
                await page.emulateMedia({ colorScheme });
                await page.screenshot({ path: `${output}${name}-${size}-${colorScheme}.png`, fullPage: true });
            }
        }
        await page.setViewportSize(wide);
    }

    close() {
        return this.context.close();
    }
}
