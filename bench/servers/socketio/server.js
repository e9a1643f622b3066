// A chat server on socket.io that exists only to be compared: a room for each person and each group, a callback as the acknowledgement,
// nothing is kept. Configured as https://socket.io/docs/v4/performance-tuning/ advises: WebSocket only, bufferutil, no reference to the
// first request. It listens on the port of 127.0.0.1 that its argument names.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false, perMessageDeflate: false, httpCompression: false });

io.engine.on("connection", (raw) => {
  raw.request = null;
});

io.on("connection", (socket) => {
  socket.join(socket.handshake.auth.rooms);
  socket.on("send", (room, text, done) => {
    socket.to(room).emit("message", text);
    done();
  });
});

http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
process.once("SIGTERM", () => process.exit(0));
