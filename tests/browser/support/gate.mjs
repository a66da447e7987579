/** A proxy between browser and server that causes network faults. It breaks connections and does not read frames. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const HANDSHAKE = /^upgrade: *websocket/im;

/** A poll that is not answered within this time has no frames to deliver. */
const QUIET_MS = 300;

/** The time in which the server sees that a response has arrived. */
const SETTLE_MS = 50;

export class Gate {
    static async start(server) {
        const gate = new Gate(server);
        gate.tcp = createServer({ allowHalfOpen: true }, (client) => gate.onClient(client));
        gate.tcp.listen(0, '127.0.0.1');
        await once(gate.tcp, 'listening');
        gate.port = gate.tcp.address().port;
        gate.url = `http://127.0.0.1:${gate.port}`;
        return gate;
    }

    constructor(server) {
        this.server = server;
        /** `pass`, `refuse`, or `mute`: the server answers a handshake, but no byte of the response arrives. */
        this.websockets = 'pass';
        this.handshakes = 0;
        this.clients = new Set();
        this.pairs = new Set();
        this.away = false;
        this.shut = false;
    }

    onClient(client) {
        this.clients.add(client);
        client.on('close', () => this.clients.delete(client));
        client.on('error', () => client.destroy());
        if (this.shut) {
            client.destroy();
        }
        if (this.shut || this.away) {
            return;
        }
        client.once('data', (head) => {
            const isHandshake = HANDSHAKE.test(head.toString('latin1'));
            this.handshakes += isHandshake ? 1 : 0;
            if (isHandshake && this.websockets === 'refuse') {
                client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
                return;
            }
            this.join(client, head, { isHandshake, mute: isHandshake && this.websockets === 'mute' });
        });
    }

    join(client, head, { isHandshake, mute }) {
        const upstream = connect({ port: this.server.port, host: '127.0.0.1', allowHalfOpen: true });
        /** `isWaiting`: an HTTP request has no response yet. */
        const pair = { client, upstream, isHandshake, isWaiting: !isHandshake };
        this.pairs.add(pair);
        client.on('data', () => { pair.isWaiting = !isHandshake; });
        upstream.on('data', () => { pair.isWaiting = false; });
        upstream.on('error', () => client.destroy());
        upstream.on('close', () => {
            this.pairs.delete(pair);
            client.end();
        });
        client.on('close', () => upstream.destroy());
        upstream.write(head);
        client.pipe(upstream);
        if (mute) {
            upstream.resume();
        } else {
            upstream.pipe(client);
        }
    }

    /**
     * Breaks all connections without losing data in flight to the browser. The server detects the closed connection,
     * all data that it has sent so far still arrives, and then the browser detects the end too.
     */
    async breakAll() {
        await Promise.all([...this.pairs].map((pair) => this.breakDown(pair)));
    }

    /**
     * When the server detects the end of a poll's connection, it answers the poll and sends those frames again later. A
     * browser that has closed its connection never receives such a response, so the gate drops it. A response that is
     * being sent must arrive, and the server must see that it did before the connection ends.
     */
    async breakDown(pair) {
        const { client, upstream } = pair;
        client.unpipe(upstream);
        if (pair.isWaiting) {
            await Promise.race([once(upstream, 'data'), pause(QUIET_MS)]);
        }
        if (pair.isWaiting) {
            upstream.unpipe(client);
            upstream.resume();
        } else if (!pair.isHandshake) {
            await pause(SETTLE_MS);
        }
        upstream.end();
        if (!client.destroyed) {
            await Promise.race([once(client, 'finish'), once(client, 'close')]);
        }
    }

    /** Breaks all connections, and accepts no new ones. */
    close() {
        this.shut = true;
        return this.breakAll();
    }

    open() {
        this.shut = false;
    }

    /** Simulates a lost network: nothing passes, and neither side is notified. */
    vanish() {
        this.away = true;
        for (const { client, upstream } of this.pairs) {
            client.unpipe(upstream);
            upstream.unpipe(client);
            upstream.pause();
        }
    }

    /** Restores the network. Connections from before stay dead. */
    comeBack() {
        this.away = false;
    }

    async stop() {
        this.clients.forEach((client) => client.destroy());
        this.pairs.forEach(({ upstream }) => upstream.destroy());
        this.tcp.close();
        await once(this.tcp, 'close');
    }
}
