// Requests through a forward proxy with Node's own modules: `node proxied.js PROXY CA`. Each line of the output is one answer.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const tls = require('tls');

const proxy = new URL(process.argv[2]);
const ca = fs.readFileSync(process.argv[3]);

/** An agent that connects through a tunnel, as agents for proxies do. */
class TunnelAgent extends https.Agent {
  createConnection(options, callback) {
    const authority = `${options.host}:${options.port}`;
    const headers = { host: authority, 'proxy-connection': 'keep-alive' };
    const connect = http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: authority, headers, agent: false });
    connect.once('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        return callback(new Error(`CONNECT ${response.statusCode}`));
      }
      callback(null, tls.connect({ ...options, socket, servername: options.host }));
    });
    connect.once('error', callback);
    connect.end();
  }
}

const agent = new TunnelAgent({ keepAlive: true, ca });

function answer(request, body) {
  return new Promise((resolve, reject) => {
    request.once('error', reject);
    request.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => (text += piece));
      response.once('end', () => resolve({ status: response.statusCode, reused: request.reusedSocket, text }));
    });
    request.end(body);
  });
}

const secured = (url, options, body) => answer(https.request(url, { agent, ...options }), body);
// With an absolute URL in clear text.
const plain = (url) =>
  answer(http.request({ host: proxy.hostname, port: proxy.port, path: url, headers: { host: new URL(url).host } }));

async function main() {
  const first = await secured('https://api.test/x', {});
  console.log(first.status, JSON.parse(first.text).sni, first.reused);
  // A body in chunks, in the same tunnel.
  const second = await secured('https://api.test/y', { method: 'POST' }, 'b'.repeat(100000));
  console.log(second.status, JSON.parse(second.text).body.length, second.reused);
  const third = await plain('http://api.test/z?a=b');
  console.log(third.status, JSON.parse(third.text).path, JSON.parse(third.text).backend);
  const denied = await plain('http://evil.test/');
  console.log(denied.status, denied.text.includes('no ServiceEntry'));
  console.log(await secured('https://evil.test/', {}).catch((error) => error.message));
  agent.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
