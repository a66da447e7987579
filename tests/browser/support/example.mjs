/** An example of `examples/`, started with its command. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { SECRET } from './server.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));

export class Example {
    /** Starts the example with a server. The example prints its address. */
    static async start(server, program, path) {
        const child = spawn(program, [path], {
            cwd: root,
            env: { ...process.env, CHANNELSTREAM_URL: server.url, CHANNELSTREAM_SECRET: SECRET, PORT: '0' },
            stdio: ['ignore', 'pipe', 'inherit'],
        });
        const [line] = await Promise.race([
            once(createInterface(child.stdout), 'line'),
            once(child, 'exit').then(() => { throw new Error(`${path} has ended`); }),
        ]);
        return new Example(child, line.match(/http:\S+/)[0]);
    }

    constructor(child, url) {
        this.child = child;
        this.url = url;
    }

    async stop() {
        const ended = once(this.child, 'exit');
        this.child.kill();
        await ended;
    }
}
