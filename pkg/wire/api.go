package wire

import "github.com/chatmesh/chatmesh/pkg/chat"

// What services without a store ask the api for, and its answers. Ids in requests are parsed where they come in.

// HistoryRequest asks subject.HistoryEndpoint for a page of history, which is answered with a Page. With User it is
// refused unless that person is a member. Limit is chat.MaxPage at most, and 50 if it is zero.
type HistoryRequest struct {
	Chat     string   `json:"chat"`
	User     string   `json:"user,omitempty"`
	After    chat.Seq `json:"after"`
	Before   chat.Seq `json:"before"`
	Forward  bool     `json:"forward"`
	Limit    int      `json:"limit"`
	MaxBytes int      `json:"max_bytes"`
}

// StateRequest asks subject.StateEndpoint for what the store has of a chat.
type StateRequest struct {
	Chat string `json:"chat"`
}

// StateAnswer is a store.Record.
type StateAnswer struct {
	Seq    chat.Seq    `json:"seq"`
	N      uint64      `json:"n"`
	At     chat.Time   `json:"at"`
	Stream uint64      `json:"stream"`
	State  *chat.State `json:"state"`
}

// FindRequest asks subject.FindEndpoint where a message stands that was sent before.
type FindRequest struct {
	Chat     string `json:"chat"`
	Sender   string `json:"sender"`
	ClientID string `json:"client_id"`
}

// FindAnswer is a store.Found.
type FindAnswer struct {
	Seq    chat.Seq  `json:"seq"`
	SentAt chat.Time `json:"sent_at"`
}

// SentQuestion asks for the ids of all messages of Sender in a chat. With Since those behind the event of that seq may be missing.
type SentQuestion struct {
	Chat   string   `json:"chat"`
	Sender string   `json:"sender"`
	Since  chat.Seq `json:"since,omitempty"`
}

// SentRequest asks subject.SentEndpoint one question, and perhaps more.
type SentRequest struct {
	SentQuestion
	More []SentQuestion `json:"more,omitempty"`
}

// SentIDs is a chatlog.Sent; IDs has 8 bytes for each.
type SentIDs struct {
	IDs      []byte   `json:"ids"`
	UpTo     chat.Seq `json:"up_to"`
	Complete bool     `json:"complete"`
}

// SentAnswer answers a SentRequest. More answers the first of its further questions, as many as there is room for; an api of before
// answers none.
type SentAnswer struct {
	SentIDs
	More []SentIDs `json:"more,omitempty"`
}

// CursorRequest asks subject.CursorEndpoint how far a person has read a chat, as the store has it.
type CursorRequest struct {
	Chat string `json:"chat"`
	User string `json:"user"`
}

// CursorAnswer is the position of a cursor; zeroes where there is none. Delivered is missing where an api of before answers.
type CursorAnswer struct {
	Seq       chat.Seq `json:"seq"`
	N         uint64   `json:"n"`
	Delivered chat.Seq `json:"delivered"`
}

// SharesRequest asks subject.SharesEndpoint which of Others, at most 1,000, share a chat with User and have not blocked
// them: whose presence User may see.
type SharesRequest struct {
	User   string   `json:"user"`
	Others []string `json:"others"`
}

// SharesAnswer lists those who do.
type SharesAnswer struct {
	Users []chat.UserID `json:"users"`
}

// ChatsOfRequest asks subject.UserChatsEndpoint for the chats of User whose ids come behind After. Limit is 10,000 if it is zero, and
// at most.
type ChatsOfRequest struct {
	User  string  `json:"user"`
	After chat.ID `json:"after"`
	Limit int     `json:"limit"`
}

// ChatsOfAnswer lists them, ascending; More says that there are further ones behind the last. A chat of which the person is about to become
// a member is there before the event that makes them one; one that they have left is there until the store knows.
type ChatsOfAnswer struct {
	Chats []chat.ID `json:"chats"`
	More  bool      `json:"more"`
}

// ChangeRequest asks subject.ChangeEndpoint to change the message at Seq for User, who must be a member. Action is that of the frame of a
// client: edit (Text, Mentions), delete (For: "all" or "me"), react (Emoji, Remove) or pin (Remove); or it is forward: the message at Seq of
// From is sent to Chat with ClientID.
type ChangeRequest struct {
	Chat     string   `json:"chat"`
	User     string   `json:"user"`
	Action   string   `json:"action"`
	Seq      chat.Seq `json:"seq"`
	Text     string   `json:"text,omitempty"`
	Mentions []string `json:"mentions,omitempty"`
	For      string   `json:"for,omitempty"`
	Emoji    string   `json:"emoji,omitempty"`
	Remove   bool     `json:"remove,omitempty"`
	From     string   `json:"from,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
}
