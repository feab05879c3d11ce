// An HTTP server on Node.js: /hello, and /mebibyte out of DIRECTORY.
//   node http.js DIRECTORY PORT
const fs = require('fs')
const http = require('http')

const [directory, port] = process.argv.slice(-2)
const file = directory + '/mebibyte'
const size = fs.statSync(file).size

const server = http.createServer((request, response) => {
  if (request.url === '/hello') {
    response.writeHead(200, {'Content-Type': 'text/plain', 'Content-Length': 5})
    response.end('hello')
  } else {
    response.writeHead(200,
      {'Content-Type': 'text/plain', 'Content-Length': size})
    fs.createReadStream(file).pipe(response)
  }
})
server.keepAliveTimeout = 600e3
server.listen(Number(port), '127.0.0.1', 1024, () => console.log('ready'))
