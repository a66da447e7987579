/** The real server, started from the binary in CHANNELSTREAM_BIN. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const START_LIMIT_MS = 20_000;

export const SECRET = 'secret of the browser tests';
export const ADMIN = { username: 'admin', password: 'password of the browser tests' };

function binary() {
    const path = process.env.CHANNELSTREAM_BIN;
    if (!path) {
        throw new Error('CHANNELSTREAM_BIN must name the server, for example target/release/channelstream');
    }
    return resolve(path);
}

async function freePort() {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    probe.close();
    await once(probe, 'close');
    return port;
}

export class Server {
    /** @param {{demo?: boolean, settings?: object}} [options] settings by their variable names without the prefix */
    static async start({ demo = true, settings = {} } = {}) {
        const server = new Server(await freePort(), demo, settings);
        await server.launch();
        return server;
    }

    constructor(port, demo, settings) {
        this.port = port;
        this.demo = demo;
        this.settings = settings;
        this.url = `http://127.0.0.1:${port}`;
        this.log = '';
        // An empty directory, so that the server does not read a configuration file of the checkout.
        this.directory = mkdtempSync(join(tmpdir(), 'channelstream-browser-'));
    }

    environment() {
        const foreign = ([name]) => !name.startsWith('CHANNELSTREAM_');
        return {
            ...Object.fromEntries(Object.entries(process.env).filter(foreign)),
            CHANNELSTREAM_HOST: '127.0.0.1',
            CHANNELSTREAM_PORT: String(this.port),
            CHANNELSTREAM_DEMO: String(this.demo),
            CHANNELSTREAM_SECRET: SECRET,
            CHANNELSTREAM_ADMIN_USER: ADMIN.username,
            CHANNELSTREAM_ADMIN_SECRET: ADMIN.password,
            ...Object.fromEntries(Object.entries(this.settings).map(([name, value]) => [`CHANNELSTREAM_${name}`, value])),
        };
    }

    async launch() {
        this.child = spawn(binary(), [], { cwd: this.directory, env: this.environment() });
        this.ended = once(this.child, 'exit');
        for (const stream of [this.child.stdout, this.child.stderr]) {
            stream.on('data', (text) => { this.log += text; });
        }
        const until = Date.now() + START_LIMIT_MS;
        while (!await this.answers()) {
            if (this.child.exitCode !== null || Date.now() > until) {
                throw new Error(`the server does not respond:\n${this.log}`);
            }
            await pause(50);
        }
    }

    async answers() {
        try {
            return (await fetch(`${this.url}/`)).ok;
        } catch {
            return false;
        }
    }

    async kill(signal) {
        this.child.kill(signal);
        await this.ended;
    }

    async stop() {
        if (this.child.exitCode === null && this.child.signalCode === null) {
            await this.kill('SIGKILL');
        }
        rmSync(this.directory, { recursive: true, force: true });
    }
}
