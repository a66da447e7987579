/**
 * A web application as the documents describe it: it serves a page with their code, hosts the browser library under
 * the name it has in packages, and answers `connectUrl` by calling the server.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import { ChannelStreamSigner } from '../../../static/channelstream/src/index.js';
import { SECRET } from './server.mjs';

const LIBRARY = new URL('../../../static/channelstream/', import.meta.url);
const PACKAGE = '/packages/@channelstream/channelstream/';

const page = (code) => `<!DOCTYPE html>
<title>An application</title>
<link rel="icon" href="data:,">
<script type="importmap">{"imports": {"@channelstream/channelstream": "${PACKAGE}index.js"}}</script>
<script type="module">
${code}
</script>`;

export class Application {
    /** Serves a page with this code, which names the server by its default address; ours is put in its place. */
    static async start(server, code, library = LIBRARY) {
        const application = new Application(server, code.replaceAll('127.0.0.1:8000', new URL(server.url).host), library);
        await application.listen();
        return application;
    }

    constructor(server, code, library) {
        this.server = server;
        this.code = code;
        this.library = library;
        this.http = createServer((request, response) => this.answer(request, response));
    }

    async listen() {
        this.http.listen(0, '127.0.0.1');
        await once(this.http, 'listening');
        this.url = `http://127.0.0.1:${this.http.address().port}`;
    }

    async answer(request, response) {
        const { pathname } = new URL(request.url, this.url);
        if (pathname.startsWith(PACKAGE)) {
            const file = await readFile(new URL(pathname.slice(PACKAGE.length), this.library));
            response.setHeader('Content-Type', 'text/javascript').end(file);
        } else if (pathname === '/connect') {
            const connected = await this.call('/connect', { username: 'someuser', channels: ['/tutorial-1'] });
            response.setHeader('Content-Type', 'application/json').end(JSON.stringify(connected));
        } else {
            response.setHeader('Content-Type', 'text/html').end(page(this.code));
        }
    }

    /** A signed call of the server. */
    async call(path, payload) {
        const answer = await fetch(this.server.url + path, {
            method: 'POST',
            headers: { 'x-channelstream-secret': new ChannelStreamSigner(SECRET).signRequest() },
            body: JSON.stringify(payload),
        });
        return answer.json();
    }

    say(text) {
        return this.call('/message', [{ user: 'system', channel: '/tutorial-1', message: { text } }]);
    }

    /** Waits until so many connections of the page are in its channel, and says something there. */
    async sayOnceThereIs(connections, text) {
        for (;;) {
            const { channels } = await this.call('/info', { info: { channels: ['/tutorial-1'] } });
            if (channels['/tutorial-1']?.total_connections === connections) {
                return this.say(text);
            }
        }
    }

    async stop() {
        this.http.closeAllConnections();
        this.http.close();
        await once(this.http, 'close');
    }
}
