/**
 * A model of a server that knows positions, and of a network that the test cuts. The server has the streams of one
 * connection and continues where the client's address says. Without that it continues behind everything that it has
 * sent. The network delivers elements one by one until it is cut; then what is in flight is lost, and the client sees the end.
 */
import { FakeEventSource, FakeRequest, FakeSocket } from './fakes.mjs';

const DELAY_MS = 1;
const BATCH_MS = 5;
const POLL_WAIT_MS = 5_000;
const STORE = 'store0';

const encoded = (number) => number.toString(36);

/** A channel or, with an empty name, the private messages. `sent` is the last offset that the network has accepted. */
class Stream {
    constructor(name, epoch) {
        Object.assign(this, { name, epoch, offset: 0, frames: [], sent: 0 });
    }

    publish(stamp) {
        this.offset += 1;
        const frame = {
            type: 'message', channel: this.name || null, uuid: `${this.epoch} ${this.offset}`, message: {}, offset: this.offset,
        };
        this.frames.push({ stamp, frame });
        return frame;
    }
}

export class StreamServer {
    constructor({ reads = ['since', 'positions'] } = {}) {
        /** The parameters that the server reads; without one of them the other must suffice. */
        this.reads = reads;
        this.streams = new Map();
        this.stamp = 0;
        this.session = null;
        /** How many elements pass before the network is cut, once for each number. */
        this.cuts = [];
        this.passed = 0;
        this.refused = new Set();
        this.opened = [];
    }

    join(name) {
        const stream = new Stream(name, `epoch00${this.streams.size}`);
        this.streams.set(name, stream);
        this.session?.push({ type: 'subscribed', channel: name, epoch: stream.epoch, offset: 0, message: {} });
    }

    /** Publishes one frame in each of these streams, in one round of the hub. */
    publish(...names) {
        const before = this.stamp;
        for (const name of names) {
            this.stamp += 1;
            const stream = this.streams.get(name);
            const frame = stream.publish(this.stamp);
            this.pass(stream, frame, `${this.cursor(before)}.${stream.epoch}.${encoded(stream.offset)}`);
        }
    }

    /** Gives a frame to the network. */
    pass(stream, frame, id) {
        if (this.session) {
            stream.sent = Math.max(stream.sent, frame.offset);
            this.session.push(frame, id);
        }
    }

    heartbeat() {
        this.session?.beat();
    }

    cursor(stamp = this.stamp) {
        return `1${STORE}.${encoded(stamp)}`;
    }

    /** The last offset of a stream that the client has, according to its address. */
    from(stream, query) {
        const bounds = [];
        const positions = JSON.parse((this.reads.includes('positions') && query.get('positions')) || '{}');
        const [epoch, offset] = (positions[stream.name] ?? '').split('.');
        if (epoch === stream.epoch) {
            bounds.push(Number(offset));
        }
        const since = this.reads.includes('since') && query.get('since');
        if (since) {
            const [, stamp, ofEpoch, ofFrame] = since.split('.');
            bounds.push(stream.frames.filter((each) => each.stamp <= parseInt(stamp, 36)).at(-1)?.frame.offset ?? 0);
            bounds.push(ofEpoch === stream.epoch ? parseInt(ofFrame, 36) : 0);
        }
        return bounds.length > 0 ? Math.max(...bounds) : stream.sent;
    }

    /** Everything that a session receives before live frames. */
    attach(session, url) {
        this.session?.release();
        this.session = session;
        this.opened.push(url);
        const query = new URL(url, 'http://server').searchParams;
        if (query.get('conn_id') !== 'first' || !(query.get('resume') === '1' || session instanceof FakeEventSource)) {
            throw new Error(`an unexpected address ${url}`);
        }
        const all = [...this.streams.values()].map((stream) => ({ stream, from: this.from(stream, query) }));
        const answers = all.map(({ stream: { name, epoch, offset }, from }) => [name, { epoch, from, offset, recovered: true }]);
        const { '': own, ...streams } = Object.fromEntries(answers);
        if (!(session instanceof FakeRequest && this.reads.includes('since') && query.get('since'))) {
            session.push({ type: 'attached', conn_id: 'first', message: {}, streams, private: own, unknown: [] });
        }
        for (const { stream, from } of all) {
            stream.frames.filter(({ frame }) => frame.offset > from)
                .forEach(({ frame }) => this.pass(stream, { ...frame, catchup: true }));
        }
        session.beat();
    }

    detach(session) {
        if (this.session === session) {
            this.session = null;
        }
    }

    /** Whether the network delivers the next element. */
    passes() {
        if (this.cuts.length === 0) {
            return true;
        }
        this.passed += 1;
        if (this.passed <= this.cuts[0]) {
            return true;
        }
        this.cuts.shift();
        this.passed = 0;
        return false;
    }

    /** Replaces the browser's transports. */
    install() {
        globalThis.WebSocket = socketsOf(this);
        globalThis.EventSource = sourcesOf(this);
        globalThis.XMLHttpRequest = requestsOf(this);
    }
}

function socketsOf(server) {
    return class extends FakeSocket {
        constructor(url, protocols) {
            super(url, protocols);
            const probes = !url.includes('conn_id=first');
            setTimeout(() => {
                if (server.refused.has('websocket') && this.readyState === 0) {
                    this.drop(1006);
                } else if (this.readyState === 0) {
                    this.accept();
                    probes ? this.drop(1000) : server.attach(this, url);
                }
            }, DELAY_MS);
        }

        push(element) {
            if (this.readyState === 1) {
                if (server.passes()) {
                    this.frame([element]);
                } else {
                    server.detach(this);
                    this.drop(1006);
                }
            }
        }

        beat() {
            this.push({ type: 'cursor', cursor: server.cursor(), message: {} });
        }

        release() {
            this.drop(4001);
        }

        close() {
            super.close();
            server.detach(this);
        }
    };
}

function sourcesOf(server) {
    return class extends FakeEventSource {
        constructor(url) {
            super(url);
            setTimeout(() => {
                if (this.readyState === 2) {
                    return;
                }
                if (server.refused.has('sse')) {
                    this.refuse();
                    return;
                }
                this.accept();
                server.attach(this, url);
            }, DELAY_MS);
        }

        push(element, id) {
            if (this.readyState !== 1) {
                return;
            }
            if (!server.passes()) {
                server.detach(this);
                this.drop();
                return;
            }
            this.event(element.type === 'message' ? 'message' : element.type, [element], id);
        }

        /** A block with only an id: the browser stores it and reports nothing. */
        beat() {
            this.lastEventId = server.cursor();
        }

        release() {
            this.event('end', { code: 4001, reason: 'taken over by another socket', reconnect: false });
        }

        close() {
            super.close();
            server.detach(this);
        }
    };
}

function requestsOf(server) {
    return class extends FakeRequest {
        collected = [];

        send(body) {
            super.send(body);
            if (this.url === '/app/connect') {
                setTimeout(() => this.answer(200, { conn_id: 'first', channels: ['one', 'two'] }), DELAY_MS);
                return;
            }
            setTimeout(() => {
                if (!this.aborted) {
                    this.waiting = setTimeout(() => this.respond(), POLL_WAIT_MS);
                    server.attach(this, this.url);
                }
            }, DELAY_MS);
        }

        push(element) {
            this.collected.push(element);
            if (element.type === 'message') {
                clearTimeout(this.waiting);
                this.waiting = setTimeout(() => this.respond(), BATCH_MS);
            }
        }

        beat() {}

        /** A response arrives as a whole or not at all. */
        respond() {
            server.detach(this);
            if (this.aborted) {
                return;
            }
            const arrives = server.passes();
            const list = [...this.collected, { type: 'cursor', cursor: server.cursor(), message: {} }];
            this.answer(arrives ? 200 : 0, arrives ? list : '');
        }

        release() {
            clearTimeout(this.waiting);
            this.respond();
        }

        abort() {
            super.abort();
            clearTimeout(this.waiting);
            server.detach(this);
        }
    };
}
