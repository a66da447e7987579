// Pages written for channelstream 0.7.1 import this name.
export { ChannelStreamConnection } from './index.js';
