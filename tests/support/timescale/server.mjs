// PostgreSQL with TimescaleDB inside this process, for one client at a time. argv: port. It ends with its standard input.
import { PGlite } from '@electric-sql/pglite'
import { timescaledb } from '@electric-sql/pglite/timescaledb'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

process.stdin.on('end', () => process.exit(0)).resume()
const db = await PGlite.create({ extensions: { timescaledb } })
await new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(process.argv[2]) }).start()
console.log('ready')
