// An echo server on TLS and Node.js. CERTIFICATE is a file, with its key in it.
//   node tls.js CERTIFICATE PORT
const fs = require('fs')
const tls = require('tls')

const [certificate, port] = process.argv.slice(-2)
const pem = fs.readFileSync(certificate)
const options = {cert: pem, key: pem, noDelay: true}

const server = tls.createServer(options, client => {
  client.on('data', data => client.write(data))
  client.on('error', () => client.destroy())
})
server.on('tlsClientError', () => {})
server.listen(Number(port), '127.0.0.1', 1024, () => console.log('ready'))
