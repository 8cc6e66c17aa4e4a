// An origin for the tests, of node's own modules. It prints its port.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http2 = require('http2');

const server = http2.createSecureServer({
  cert: fs.readFileSync('cert.pem'),
  key: fs.readFileSync('key.pem'),
  allowHTTP1: true,
});
let connections = 0;
server.on('secureConnection', () => { connections += 1; });

function whole(request, then) {
  const hash = crypto.createHash('sha256');
  let length = 0;
  request.on('data', (piece) => { length += piece.length; hash.update(piece); });
  request.on('end', () => then(length, hash.digest('hex')));
}

const waiting = [];
server.on('request', (request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/events') {
    // The second event leaves when the test asks for it at /release, so that nothing can have waited for it.
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: first\n\n');
    waiting.push(() => response.end('data: second\n\n'));
  } else if (path === '/release') {
    waiting.splice(0).forEach((go) => go());
    response.end('released');
  } else if (path === '/trailers') {
    whole(request, (length) => {
      response.writeHead(200, { trailer: 'x-sum, x-got' });
      response.write('body');
      response.addTrailers({ 'x-sum': String(length), 'x-got': request.trailers['x-end'] || 'none' });
      response.end();
    });
  } else if (path === '/headers') {
    for (let number = 0; number < 500; number += 1) response.setHeader(`x-${number}`, 'x'.repeat(400));
    response.end();
  } else if (path === '/continue') {
    whole(request, (length) => response.end(`continued ${length}`));
  } else if (path === '/early') {
    response.writeHead(413);
    response.end('enough');
  } else {
    whole(request, (length, sum) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({
        method: request.method,
        url: request.url,
        version: request.httpVersion,
        headers: request.headers,
        length,
        sum,
        connections,
      }));
    });
  }
});

// RFC 6455, by hand: every frame goes back as it came, unmasked.
server.on('upgrade', (request, socket) => {
  const accept = crypto.createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    + `X-Authorized: ${/^Bearer s3cr3t-/.test(request.headers.authorization || '')}\r\n`
    + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let kept = Buffer.alloc(0);
  socket.on('data', (piece) => {
    kept = Buffer.concat([kept, piece]);
    while (kept.length >= 6 && kept.length >= 6 + (kept[1] & 0x7f)) {
      const length = kept[1] & 0x7f;
      const mask = kept.subarray(2, 6);
      const data = Buffer.from(kept.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]));
      socket.write(Buffer.concat([Buffer.from([kept[0], length]), data]));
      if ((kept[0] & 0x0f) === 8) socket.end();
      kept = kept.subarray(6 + length);
    }
  });
  socket.on('error', () => {});
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
