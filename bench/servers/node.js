// An echo server on Node.js.
//   node node.js PORT
const net = require('net')

const server = net.createServer({noDelay: true}, client => {
  client.on('data', data => client.write(data))
  client.on('error', () => client.destroy())
})
const port = Number(process.argv[process.argv.length - 1])
server.listen(port, '127.0.0.1', 1024, () => console.log('ready'))
