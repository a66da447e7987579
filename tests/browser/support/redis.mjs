/** A Redis of its own for a test, without a port and without files that stay. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const START_LIMIT_MS = 20_000;

export class Redis {
    static async start() {
        const redis = new Redis();
        const until = Date.now() + START_LIMIT_MS;
        while (!await redis.listens()) {
            if (redis.child.exitCode !== null || Date.now() > until) {
                throw new Error('Redis does not listen (tests/run installs it)');
            }
            await pause(20);
        }
        return redis;
    }

    constructor() {
        this.directory = mkdtempSync(join(tmpdir(), 'channelstream-redis-'));
        this.socket = join(this.directory, 'socket');
        const options = ['--port', '0', '--unixsocket', this.socket, '--save', '', '--dir', this.directory];
        this.child = spawn('redis-server', options, { stdio: 'ignore' });
        this.ended = once(this.child, 'exit');
    }

    /** Settings of a node on this Redis, by their variable names. */
    node(name) {
        return { ENGINE: 'redis', ENGINE_URL: `redis+unix://${this.socket}`, NODE_NAME: name };
    }

    async listens() {
        const socket = connect(this.socket);
        try {
            await once(socket, 'connect');
            return true;
        } catch {
            return false;
        } finally {
            socket.destroy();
        }
    }

    async stop() {
        if (this.child.exitCode === null && this.child.signalCode === null) {
            this.child.kill('SIGKILL');
            await this.ended;
        }
        rmSync(this.directory, { recursive: true, force: true });
    }
}
