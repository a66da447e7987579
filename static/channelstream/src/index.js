/**
 * The browser library of channelstream: `ChannelStreamConnection` listens for messages and talks to the web
 * application behind the page; `ChannelStreamSigner` signs calls to the server's backend API.
 *
 * Plain ES modules without dependencies: serve the folder as it is, or bundle it.
 *
 * @module channelstream
 */
export { ChannelStreamConnection } from './connection.js';
export { ChannelStreamRequest } from './request.js';
export { ChannelStreamSigner } from './signer.js';
