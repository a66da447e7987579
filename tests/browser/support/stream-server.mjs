/**
 * A small server of server-sent events for one connection, with a web application beside it: it speaks the wire of
 * `/sse`, continues where the address says, and breaks its streams on request.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';

const HEAD = {
    'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', connection: 'close',
    'access-control-allow-origin': '*',
};

const EPOCH = 'aaaaaaaa';

export class StreamEndpoint {
    static async start() {
        const endpoint = new StreamEndpoint();
        endpoint.http = createServer((request, response) => endpoint.answer(request, response));
        endpoint.http.listen(0, '127.0.0.1');
        await once(endpoint.http, 'listening');
        endpoint.url = `http://127.0.0.1:${endpoint.http.address().port}`;
        return endpoint;
    }

    constructor() {
        this.frames = [];
        this.stream = null;
        /** Query strings of the streams that clients have opened. */
        this.queries = [];
        /** Whether new streams are answered with an empty body, as by a busy server. */
        this.busy = false;
        /** The status of new streams, if it is not 200. */
        this.status = 200;
    }

    answer(request, response) {
        const { pathname, searchParams } = new URL(request.url, this.url);
        if (pathname === '/sse') {
            this.open(searchParams, response);
        } else {
            response.writeHead(404, { 'access-control-allow-origin': '*' }).end();
        }
    }

    open(query, response) {
        this.queries.push(query);
        if (this.status !== 200) {
            response.writeHead(this.status, { 'access-control-allow-origin': '*' }).end('{}');
            return;
        }
        response.writeHead(200, HEAD).write('retry: 1370\n:\n\n');
        if (this.busy) {
            response.end('retry: 5000\n\n');
            return;
        }
        this.stream = response;
        const positions = JSON.parse(query.get('positions') ?? '{}');
        const from = Number((positions.lobby ?? `${EPOCH}.0`).split('.')[1]);
        const lobby = { epoch: EPOCH, from, offset: this.frames.length, recovered: true };
        this.write('attached', [{ type: 'attached', conn_id: 'first', message: {}, streams: { lobby }, unknown: [] }]);
        this.frames.slice(from).forEach((frame) => this.write(null, [{ ...frame, catchup: true }]));
        response.write(`id: ${this.cursor()}\n\n`);
    }

    cursor() {
        return `1store0.${this.frames.length.toString(36)}`;
    }

    write(event, data, id) {
        const lines = [event && `event: ${event}`, id && `id: ${id}`, `data: ${JSON.stringify(data)}`];
        this.stream?.write(`${lines.filter(Boolean).join('\n')}\n\n`);
    }

    publish() {
        const before = this.cursor();
        const offset = this.frames.length + 1;
        const frame = {
            channel: 'lobby', uuid: `${offset}`, timestamp: '', user: 'site', message: { number: offset - 1 }, edited: null,
            type: 'message', catchup: false, offset,
        };
        this.frames.push(frame);
        this.write(null, [frame], `${before}.${EPOCH}.${offset.toString(36)}`);
    }

    heartbeat() {
        this.stream?.write(`id: ${this.cursor()}\n\n`);
    }

    /** Ends the stream in order, with the reason. */
    end(code, reason, reconnect) {
        this.write('end', { code, reason, reconnect });
        this.stream?.end();
        this.stream = null;
    }

    /** Breaks the stream without an end. */
    cut() {
        this.stream?.destroy();
        this.stream = null;
    }

    async stop() {
        this.http.closeAllConnections();
        this.http.close();
        await once(this.http, 'close');
    }
}
