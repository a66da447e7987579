/** Writes what pages load of the browser library: to be run after a change in static/channelstream/src. */
import { writeFileSync } from 'node:fs';

import { LIBRARY, bundle } from './support/bundle.mjs';

for (const [file, { text }] of await bundle()) {
    writeFileSync(new URL(file, LIBRARY), text);
    console.log(`${file}: ${text.length} characters`);
}
