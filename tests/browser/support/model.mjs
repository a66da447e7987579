/**
 * A model of the server and its network: their guarantees about frames, with a clock and a random source that the test
 * controls. Frames of a connection are numbers from zero. The model records which of them were lost in flight.
 */
import { FakeSocket } from './fakes.mjs';

const POLL_WAIT_MS = 5_000;
const BATCH_MS = 25;
const HEARTBEAT_MS = 5_000;
const FORGET_MS = 30_500;

/** A connection in the server: a cursor that advances when the system accepts a frame, and at most one session. */
class Connection {
    constructor(id) {
        this.id = id;
        this.published = 0;
        this.cursor = 0;
        this.session = null;
        this.absentSince = null;
        this.lost = [];
        this.lostAt = [];
    }

    /** Records frames that the system had accepted and that never arrived. */
    lose(frames) {
        if (frames.length > 0) {
            this.lost.push(...frames.map(({ number }) => number));
            this.lostAt.push(Date.now());
        }
    }

    take() {
        const frames = [];
        while (this.cursor < this.published) {
            frames.push({ type: 'message', channel: 'demo', connection: this.id, number: this.cursor });
            this.cursor += 1;
        }
        return frames;
    }

    attach(session) {
        this.session?.release();
        this.session = session;
        this.absentSince = null;
        session.flush();
    }

    detach(session) {
        if (this.session === session) {
            this.session = null;
            this.absentSince = Date.now();
        }
    }
}

export class Model {
    constructor({ random }) {
        this.random = random;
        this.connections = new Map();
        this.all = [];
        this.count = 0;
        this.up = true;
        /** `open`, `refused` or `muted`: the outcome of websocket handshakes. */
        this.websockets = 'open';
        this.wires = new Set();
    }

    /** A network delay of up to 60 ms. */
    delay() {
        return 1 + this.random() * 59;
    }

    connect() {
        this.count += 1;
        const connection = new Connection(`id${this.count}`);
        connection.absentSince = Date.now();
        this.connections.set(connection.id, connection);
        this.all.push(connection);
        return connection.id;
    }

    publish() {
        for (const connection of this.connections.values()) {
            connection.published += 1;
            connection.session?.flush();
        }
    }

    /** Removes connections without a session after the grace time. */
    sweep() {
        for (const [id, { absentSince, session }] of this.connections) {
            if (!session && Date.now() - absentSince > FORGET_MS) {
                this.connections.delete(id);
            }
        }
    }

    restart() {
        this.connections.clear();
        [...this.wires].forEach((wire) => wire.breakDown());
    }

    /** Breaks every socket and request. Data in flight arrives before that. */
    breakAll() {
        [...this.wires].forEach((wire) => wire.breakDown());
    }
}

/** The queue of one direction. Data arrives in order, each item after a delay. */
class Wire {
    constructor(model, connection) {
        this.model = model;
        this.connection = connection;
        this.inFlight = [];
        this.arrivesAt = 0;
        this.open = true;
        model.wires.add(this);
    }

    send(frames, arrive) {
        const item = { frames };
        this.inFlight.push(item);
        this.arrivesAt = Math.max(this.arrivesAt, Date.now() + this.model.delay());
        setTimeout(() => {
            const at = this.inFlight.indexOf(item);
            if (at >= 0) {
                this.inFlight.splice(at, 1);
                arrive();
            }
        }, this.arrivesAt - Date.now());
    }

    /** The client has closed its end, so data in flight is lost. */
    cut() {
        this.open = false;
        this.model.wires.delete(this);
        this.connection?.lose(this.inFlight.splice(0).flatMap(({ frames }) => frames));
    }
}

/** Makes the class that replaces WebSocket. */
export function socketsOf(model) {
    return class ModelSocket extends FakeSocket {
        constructor(url) {
            super(url);
            const id = new URL(url).searchParams.get('conn_id');
            setTimeout(() => this.handshake(id), model.delay());
        }

        handshake(id) {
            if (this.readyState !== 0) {
                return;
            }
            if (!model.up || model.websockets === 'refused') {
                this.drop(1006);
                return;
            }
            const connection = model.connections.get(id);
            this.muted = model.websockets === 'muted';
            this.wire = new Wire(model, connection);
            this.wire.breakDown = () => this.breakDown();
            this.wire.send([], () => !this.muted && this.accept());
            if (!connection) {
                this.end(1000);
                return;
            }
            this.connection = connection;
            this.beat = setInterval(() => this.put([]), HEARTBEAT_MS);
            connection.attach(this);
        }

        put(frames) {
            if (!this.wire.open || this.muted) {
                this.connection.lose(frames);
            } else {
                this.wire.send(frames, () => this.frame(frames));
            }
        }

        flush() {
            this.connection.take().forEach((frame) => this.put([frame]));
        }

        release() {
            this.end(4001);
        }

        end(code) {
            clearInterval(this.beat);
            this.connection?.detach(this);
            this.wire.send([], () => {
                this.wire.cut();
                if (!this.muted) {
                    this.drop(code);
                }
            });
        }

        breakDown() {
            this.end(1006);
        }

        close() {
            const open = this.readyState < 2;
            this.readyState = 3;
            if (open && this.wire) {
                clearInterval(this.beat);
                this.wire.cut();
                // The server detects the close later. Until then it sends frames to a closed socket.
                setTimeout(() => this.connection?.detach(this), model.delay());
            }
        }
    };
}

/** Makes the class that replaces XMLHttpRequest, for the application's connect and the server's polls. */
export function requestsOf(model) {
    return class ModelRequest {
        readyState = 0;
        status = 0;
        responseText = '';

        open(verb, url) {
            Object.assign(this, { verb, url, readyState: 1 });
        }

        setRequestHeader() {}

        getAllResponseHeaders() {
            return '';
        }

        send() {
            this.wire = new Wire(model, null);
            this.wire.breakDown = () => this.answer(0, '');
            this.timer = setTimeout(() => this.arrive(), model.delay());
            if (this.timeout) {
                this.limit = setTimeout(() => this.abandon(0), this.timeout);
            }
        }

        arrive() {
            if (!model.up) {
                this.answer(0, '');
                return;
            }
            if (this.url === '/app/connect') {
                this.answer(200, JSON.stringify({ conn_id: model.connect(), channels: ['demo'] }));
                return;
            }
            const connection = model.connections.get(new URL(this.url, 'http://server').searchParams.get('conn_id'));
            if (!connection) {
                this.answer(401, '{}');
                return;
            }
            this.connection = connection;
            this.wire.connection = connection;
            this.waiting = setTimeout(() => this.finish(), POLL_WAIT_MS);
            connection.attach(this);
        }

        flush() {
            if (this.connection.cursor < this.connection.published && !this.collecting) {
                this.collecting = true;
                clearTimeout(this.waiting);
                this.waiting = setTimeout(() => this.finish(), BATCH_MS);
            }
        }

        release() {
            this.finish([]);
        }

        finish(frames = this.connection.take()) {
            clearTimeout(this.waiting);
            this.connection.detach(this);
            this.answer(200, JSON.stringify(frames), frames);
        }

        answer(status, responseText, frames = []) {
            if (this.answering) {
                return;
            }
            this.answering = true;
            clearTimeout(this.waiting);
            clearTimeout(this.timer);
            this.connection?.detach(this);
            this.wire.send(frames, () => {
                this.wire.cut();
                clearTimeout(this.limit);
                Object.assign(this, { readyState: 4, status, responseText });
                this.onreadystatechange?.();
            });
        }

        abandon() {
            this.abort();
            Object.assign(this, { readyState: 4, status: 0, responseText: '' });
            this.onreadystatechange?.();
        }

        abort() {
            clearTimeout(this.timer);
            clearTimeout(this.limit);
            clearTimeout(this.waiting);
            this.wire?.cut();
            // Frames that are not in a response yet wait for the next poll.
            this.connection?.detach(this);
            this.answering = true;
        }
    };
}
