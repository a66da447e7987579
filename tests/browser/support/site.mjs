/** A web application as docs/browser-library.md describes it: pages with the library, and all views that it calls. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { ChannelStreamSigner } from '../../../static/channelstream/index.js';
import { LIBRARY } from './bundle.mjs';
import { SECRET } from './server.mjs';

const SETTINGS = {
    notify_presence: true, notify_state: true, broadcast_presence_with_user_lists: true, store_history: true,
    history_size: 1000,
};

const FILES = {
    '/channelstream/index.js': 'index.js',
    '/channelstream/channelstream.min.js': 'channelstream.min.js',
};

const html = (body) => `<!DOCTYPE html>
<title>A site</title>
<link rel="icon" href="data:,">
<script type="importmap">{"imports": {
    "channelstream-browser": "/channelstream/index.js",
    "@channelstream/channelstream": "/channelstream/index.js"
}}</script>
${body}`;

export class Site {
    /** Serves pages. `pages` contains their bodies by path; other paths are empty pages. */
    static async start(server, pages = {}) {
        const site = new Site(server, pages);
        site.http = createServer((request, response) => site.answer(request, response));
        site.http.listen(0, '127.0.0.1');
        await once(site.http, 'listening');
        site.url = `http://127.0.0.1:${site.http.address().port}`;
        return site;
    }

    constructor(server, pages) {
        this.server = server;
        this.pages = pages;
        this.signer = new ChannelStreamSigner(SECRET);
        /** Methods and paths of views, in the order in which pages called them. */
        this.calls = [];
        /** The channels to join with each connect; null to join those that the page requests. */
        this.joins = null;
        this.sent = 0;
        this.sending = Promise.resolve();
    }

    async answer(request, response) {
        const { pathname } = new URL(request.url, this.url);
        const view = this.views[pathname];
        if (pathname in FILES) {
            response.setHeader('Content-Type', 'text/javascript');
            response.end(readFileSync(new URL(FILES[pathname], LIBRARY)));
        } else if (view && request.method !== 'GET') {
            await this.answerView(view, request, response);
        } else {
            // Does not send `no-store`, which would keep the page out of the back/forward cache.
            const script = pathname.endsWith('.js');
            response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
            response.end(script ? this.pages[pathname] : html(this.pages[pathname] ?? ''));
        }
    }

    async answerView(view, request, response) {
        const { pathname } = new URL(request.url, this.url);
        let text = '';
        for await (const chunk of request) {
            text += chunk;
        }
        this.calls.push(`${request.method} ${pathname}`);
        const { status, body } = await view(JSON.parse(text), request.method).catch(() => ({ status: 502, body: '' }));
        response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
    }

    views = {
        '/connect': ({ username, channels }) => this.forward('POST', '/connect', {
            username,
            channels: this.joins ?? channels,
            channel_configs: this.configsOf(this.joins ?? channels),
            state_public_keys: ['color'],
        }),
        '/subscribe': ({ conn_id: id, channels }) => this.forward('POST', '/subscribe', {
            conn_id: id, channels, channel_configs: this.configsOf(channels),
        }),
        '/unsubscribe': (body) => this.forward('POST', '/unsubscribe', body),
        '/message': (body, method) => (body.channel === 'forbidden'
            ? Promise.resolve({ status: 403, body: '{}' })
            : this.forward(method, '/message', [body])),
        '/user_state': ({ username, update_state: state }) => this.forward('POST', '/user_state', {
            user: username, user_state: state,
        }),
        '/info': ({ channels }) => this.forward('POST', '/info', { info: { channels } }),
    };

    configsOf(channels) {
        return Object.fromEntries(channels.map((name) => [name, SETTINGS]));
    }

    /** Sends a signed call to the server and returns its response unchanged. */
    async forward(method, path, payload) {
        const answer = await fetch(this.server.url + path, {
            method,
            headers: { 'x-channelstream-secret': this.signer.signRequest() },
            body: JSON.stringify(payload),
        });
        return { status: answer.status, body: await answer.text() };
    }

    async call(path, payload) {
        return JSON.parse((await this.forward('POST', path, payload)).body);
    }

    /** Sends the next number to a channel. */
    sendOne(channel = 'lobby') {
        const number = this.sent;
        this.sent += 1;
        // Sends one after the other, because concurrent requests have no order.
        this.sending = this.sending.then(() => this.call('/message', [{ user: 'site', channel, message: { number } }]));
        return this.sending;
    }

    async sendMany(count, channel) {
        for (let turn = 0; turn < count; turn += 1) {
            await this.sendOne(channel);
        }
    }

    /** Sends numbers one after the other until the returned function is called. */
    keepSending(channel) {
        let going = true;
        const done = (async () => {
            while (going) {
                await this.sendOne(channel);
            }
        })();
        return () => {
            going = false;
            return done;
        };
    }

    async stop() {
        this.http.closeAllConnections();
        this.http.close();
        await once(this.http, 'close');
    }
}
