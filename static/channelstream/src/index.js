/**
 * The browser library of channelstream: `ChannelStreamConnection` listens for messages and talks to the web
 * application behind the page; `ChannelStreamSigner` signs calls to the server's backend API.
 *
 * Pages load the files that tests/browser/build.mjs makes from these modules.
 *
 * @module channelstream
 */
export { ChannelStreamChannel } from './channel.js';
export { ChannelStreamConnection } from './connection.js';
export { Emitter } from './emitter.js';
export { ChannelStreamError } from './errors.js';
export { ChannelStreamRequest } from './request.js';
export { ChannelStreamSigner } from './signer.js';
