/**
 * A server and the network before it, as a model: what they promise about frames, with a clock and a chance that the
 * test controls. Frames of a connection are numbers from zero; the model knows which of them were lost on the way.
 */
import { FakeSocket } from './fakes.mjs';

const POLL_WAIT_MS = 5_000;
const BATCH_MS = 25;
const HEARTBEAT_MS = 5_000;
const FORGET_MS = 30_500;

/** As the server keeps it: a cursor that moves when the system has taken a frame, and one session at most. */
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

    /** Frames that the system had taken, and that never arrived. */
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
        /** `open`, `refused` or `swallowed`: what happens to handshakes of websockets. */
        this.websockets = 'open';
        this.wires = new Set();
    }

    /** A delay on the way, up to 60 ms. */
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

    /** Forgets those who have been away for too long. */
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

    /** Every socket and request breaks; what is on the way arrives before that. */
    breakAll() {
        [...this.wires].forEach((wire) => wire.breakDown());
    }
}

/** One direction's queue: what is sent arrives in order, after a delay each. */
class Wire {
    constructor(model, connection) {
        this.model = model;
        this.connection = connection;
        this.underWay = [];
        this.arrivesAt = 0;
        this.open = true;
        model.wires.add(this);
    }

    send(frames, arrive) {
        const item = { frames };
        this.underWay.push(item);
        this.arrivesAt = Math.max(this.arrivesAt, Date.now() + this.model.delay());
        setTimeout(() => {
            const at = this.underWay.indexOf(item);
            if (at >= 0) {
                this.underWay.splice(at, 1);
                arrive();
            }
        }, this.arrivesAt - Date.now());
    }

    /** The client's end is gone: what was under way to it is lost. */
    cut() {
        this.open = false;
        this.model.wires.delete(this);
        this.connection?.lose(this.underWay.splice(0).flatMap(({ frames }) => frames));
    }
}

/** Makes the class that stands for WebSocket. */
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
            this.swallowed = model.websockets === 'swallowed';
            this.wire = new Wire(model, connection);
            this.wire.breakDown = () => this.breakDown();
            this.wire.send([], () => !this.swallowed && this.accept());
            if (!connection) {
                this.goodbye(1000);
                return;
            }
            this.connection = connection;
            this.beat = setInterval(() => this.put([]), HEARTBEAT_MS);
            connection.attach(this);
        }

        put(frames) {
            if (!this.wire.open || this.swallowed) {
                this.connection.lose(frames);
            } else {
                this.wire.send(frames, () => this.frame(frames));
            }
        }

        flush() {
            this.connection.take().forEach((frame) => this.put([frame]));
        }

        release() {
            this.goodbye(4001);
        }

        goodbye(code) {
            clearInterval(this.beat);
            this.connection?.detach(this);
            this.wire.send([], () => {
                this.wire.cut();
                if (!this.swallowed) {
                    this.drop(code);
                }
            });
        }

        breakDown() {
            this.goodbye(1006);
        }

        close() {
            const open = this.readyState < 2;
            this.readyState = 3;
            if (open && this.wire) {
                clearInterval(this.beat);
                this.wire.cut();
                // The server learns of it later; until then it writes into nothing.
                setTimeout(() => this.connection?.detach(this), model.delay());
            }
        }
    };
}

/** Makes the class that stands for XMLHttpRequest: the application's connect, and the server's polls. */
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
            // Frames that were not yet taken for the answer wait for the next poll.
            this.connection?.detach(this);
            this.answering = true;
        }
    };
}
