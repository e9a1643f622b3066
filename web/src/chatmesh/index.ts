// The protocol client of chatmesh: everything that speaks to the server, and nothing that knows of a page.

export { Api, type NewChat, Public } from "./api";
export { blockers } from "./blocks";
export type { Entry } from "./chats";
export { ChatClient } from "./client";
export type { ConnectionState, Wire } from "./connection";
export { ChatError, codeOf } from "./errors";
export { quoteOf } from "./fold";
export { browserLock } from "./locks";
export type { OutboxItem, Passed } from "./outbox";
export { MAX_PINS, type Pin } from "./pins";
export { browserStorage } from "./storage";
export { countCodePoints, isPassword, isUsername, MAX_TEXT, textFault } from "./text";
export { SESSION_KEY, Tokens } from "./tokens";
export type { Change, Grant, LogEvent, Member, Message, Presence, Reaction, User } from "./types";
