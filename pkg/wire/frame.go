package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Subprotocol is the WebSocket subprotocol.
const Subprotocol = "chatmesh.v1"

// MaxFrame is the largest frame a client may send, in bytes: a text of chat.MaxText code points with every one escaped
// as a surrogate pair is 1.2 MB.
const MaxFrame = 1_310_720

// Close codes. 3000 to 3499 tell the client to reconnect, 3500 to 3999 not to.
const (
	CloseDraining     = 3000
	CloseSlow         = 3001
	CloseUnavailable  = 3002
	CloseLimited      = 3003
	CloseToken        = 3500
	CloseSessionEnded = 3501
	CloseProtocol     = 3502
)

// Types of the frames that are not events.
const (
	TypeHello   = "hello"
	TypeWelcome = "welcome"
	TypeSend    = "send"
	TypeAck     = "ack"
	TypeSync    = "sync"
	TypePage    = "page"
	TypeRead    = "read"
	// TypeDelivered reaches only connections that asked for it.
	TypeDelivered = "delivered"
	TypeTyping    = "typing"
	TypeWatch     = "watch"
	TypePresence  = "presence"
	TypePing      = "ping"
	TypePong      = "pong"
	TypeResync    = "resync"
	TypeDraining  = "draining"
	TypeError     = "error"
	// TypeProfile tells a person's devices what they show of themselves, TypeRecheck the edges of a person that they may see less.
	TypeProfile = "profile"
	TypeRecheck = "recheck"
	// TypeHeads is the type of what fan-out tells the edges of a person (Heads), and of what an edge tells a client that asked for it
	// (ChatHeads).
	TypeHeads = "heads"
	// What a client asks to be done to a message.
	TypeEdit   = "edit"
	TypeDelete = "delete"
	TypeReact  = "react"
	TypePin    = "pin"
	// TypeSettings and TypeHidden tell the devices of a person what the person did on another.
	TypeSettings = "settings"
	TypeHidden   = "hidden"
	// TypeIdle says that nobody is at a device, or that somebody is again.
	TypeIdle = "idle"
	// TypePreferences tells a person's devices, and the edges that host them, what others may learn of the person.
	TypePreferences = "preferences"
)

// maxRequestID bounds what a client may have echoed, in bytes of JSON.
const maxRequestID = 128

// RequestID is the id of a client's request, a JSON string or number, echoed as it came. The zero value is none.
type RequestID = json.RawMessage

// Request is any frame from a client; which fields count depends on Type.
type Request struct {
	Type     string              `json:"type"`
	ID       RequestID           `json:"id"`
	Token    string              `json:"token"`
	Cursors  map[string]chat.Seq `json:"cursors"`
	Chat     string              `json:"chat"`
	ClientID string              `json:"client_id"`
	Text     string              `json:"text"`
	After    chat.Seq            `json:"after"`
	Limit    int                 `json:"limit"`
	Seq      chat.Seq            `json:"seq"`
	Users    []string            `json:"users"`
	// ReplyTo is the message that is answered, Mentions are of members.
	ReplyTo  chat.Seq `json:"reply_to"`
	Mentions []string `json:"mentions"`
	// Forward is the message that is passed on, in the place of a text.
	Forward *Source `json:"forward"`
	// For says of a deletion whether it is for "all" or for "me". Emoji is that of a reaction. Remove takes it, or a pin, back.
	For    string `json:"for"`
	Emoji  string `json:"emoji"`
	Remove bool   `json:"remove"`
	// Receipts asks, in a hello, for frames of TypeDelivered, Heads for ChatHeads.
	Receipts bool `json:"receipts"`
	Heads    bool `json:"heads"`
	// Stopped, in a frame of TypeTyping, takes back that somebody is writing.
	Stopped bool `json:"stopped"`
	// Idle, in a frame of TypeIdle, says that nobody is at the device.
	Idle bool `json:"idle"`
}

// Source is where a message stands that is passed on.
type Source struct {
	Chat string   `json:"chat"`
	Seq  chat.Seq `json:"seq"`
}

// ActionForward is the action of passing a message on, in what an edge asks the api for. A client's frame is of TypeSend.
const ActionForward = "forward"

// ErrNotProtocol says that a frame is no JSON object at all: the connection ends with CloseProtocol.
var ErrNotProtocol = errors.New("wire: not a JSON object")

// ParseRequest reads a frame. It fails with ErrNotProtocol, or with a chat.Error BadRequest when the object has a field of
// the wrong type: then the returned request carries the id if that much could be read.
func ParseRequest(data []byte) (Request, error) {
	if r, ok := parseSend(data); ok {
		return r, nil
	}
	var r Request
	err := json.Unmarshal(data, &r)
	if err != nil {
		var wrong *json.UnmarshalTypeError
		if trimmed := bytes.TrimLeft(data, " \t\r\n"); !errors.As(err, &wrong) || len(trimmed) == 0 || trimmed[0] != '{' {
			return r, ErrNotProtocol
		}
		r.ID = cleanID(r.ID)
		return r, chat.Errorf(chat.BadRequest, "a field has the wrong type")
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); trimmed[0] != '{' {
		return r, ErrNotProtocol // null
	}
	id := cleanID(r.ID)
	if id == nil && r.ID != nil && string(r.ID) != "null" {
		r.ID = nil
		return r, chat.Errorf(chat.BadRequest, "id is not a string or number of at most %d bytes", maxRequestID)
	}
	r.ID = id
	return r, nil
}

func cleanID(id RequestID) RequestID {
	if len(id) == 0 || len(id) > maxRequestID || id[0] != '"' && id[0] != '-' && (id[0] < '0' || id[0] > '9') {
		return nil
	}
	return id
}

// Welcome answers hello.
type Welcome struct {
	Type       string      `json:"type"`
	User       chat.UserID `json:"user"`
	Session    string      `json:"session"`
	ServerTime chat.Time   `json:"server_time"`
}

// Ack answers a request that was carried out. SentAt and Duplicate come with a sent message.
type Ack struct {
	Type      string        `json:"type"`
	ID        RequestID     `json:"id,omitempty"`
	Chat      chat.ID       `json:"chat,omitempty"`
	ClientID  chat.ClientID `json:"client_id,omitempty"`
	Seq       chat.Seq      `json:"seq,omitempty"`
	SentAt    *chat.Time    `json:"sent_at,omitempty"`
	Duplicate bool          `json:"duplicate,omitempty"`
}

// Page is a page of the bare events of a chat, ascending, without holes.
type Page struct {
	Type     string            `json:"type,omitempty"`
	ID       RequestID         `json:"id,omitempty"`
	Chat     chat.ID           `json:"chat,omitempty"`
	Messages []json.RawMessage `json:"messages"`
	HasMore  bool              `json:"has_more"`
	FromSeq  chat.Seq          `json:"from_seq"`
	ToSeq    chat.Seq          `json:"to_seq"`
}

// Read tells that a person has read a chat up to Seq, which is the Nth message or lies behind it.
type Read struct {
	Type string      `json:"type"`
	Chat chat.ID     `json:"chat"`
	Seq  chat.Seq    `json:"seq"`
	User chat.UserID `json:"user"`
	N    uint64      `json:"n"`
	// Private keeps it among the person's own devices.
	Private bool `json:"private,omitempty"`
}

// Delivered tells that a device of a person has a chat up to Seq.
type Delivered struct {
	Type string      `json:"type"`
	Chat chat.ID     `json:"chat"`
	Seq  chat.Seq    `json:"seq"`
	User chat.UserID `json:"user"`
	// Private keeps it among the person's own devices.
	Private bool `json:"private,omitempty"`
}

// Resync tells that the edge may have missed something, in Chat or anywhere: sync from your cursor.
type Resync struct {
	Type string  `json:"type"`
	Chat chat.ID `json:"chat,omitempty"`
}

// Heads tells the edges of a person the last seq of chats that fell quiet, so that they notice when the last event was lost on
// its way.
type Heads struct {
	Type  string               `json:"type"`
	Heads map[chat.ID]chat.Seq `json:"heads"`
}

// ChatHead is the last event of a chat and the number of its messages.
type ChatHead struct {
	Seq chat.Seq `json:"seq"`
	N   uint64   `json:"n"`
}

// ChatHeads tells a client, before the events that its cursors miss, how far their chats are.
type ChatHeads struct {
	Type  string               `json:"type"`
	Heads map[chat.ID]ChatHead `json:"heads"`
}

// Draining tells that this edge is going away: reconnect at a random moment within the given time.
type Draining struct {
	Type             string `json:"type"`
	ReconnectAfterMS int64  `json:"reconnect_after_ms"`
}

// Error refuses a request, or tells that a frame could not be understood.
type Error struct {
	Type         string    `json:"type,omitempty"`
	ID           RequestID `json:"id,omitempty"`
	Code         chat.Code `json:"code"`
	Message      string    `json:"message"`
	RetryAfterMS int64     `json:"retry_after_ms,omitempty"`
}

// Refuse is the error frame for err.
func Refuse(id RequestID, err error) Error {
	e := chat.AsError(err)
	return Error{Type: TypeError, ID: id, Code: e.Code, Message: e.Message, RetryAfterMS: e.RetryAfter.Milliseconds()}
}

// DecodeCursor reads a cursor as the log of cursors stores it: a Read, or a Delivered, whose N is zero. Type tells which.
func DecodeCursor(body []byte) (Read, error) {
	var r Read
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("wire: cursor: %w", err)
	}
	if r.Type != TypeRead && r.Type != TypeDelivered {
		return r, errors.New("wire: cursor of an unknown type")
	}
	if _, err := chat.ParseID(string(r.Chat)); err != nil {
		return r, fmt.Errorf("wire: cursor without a chat")
	}
	if _, err := chat.ParseUserID(string(r.User)); err != nil {
		return r, fmt.Errorf("wire: cursor without a person")
	}
	return r, nil
}
