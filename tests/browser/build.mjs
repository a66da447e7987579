/** Writes the files of the browser library that pages load. Run it after each change in static/channelstream/src. */
import { writeFileSync } from 'node:fs';

import { LIBRARY, bundle } from './support/bundle.mjs';

for (const [file, { text }] of await bundle()) {
    writeFileSync(new URL(file, LIBRARY), text);
    console.log(`${file}: ${text.length} characters`);
}
