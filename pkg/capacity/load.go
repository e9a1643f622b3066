package capacity

import (
	"fmt"
	"math"
)

// Load is what people do. All of it is per day or at the busiest moment, as each field says.
type Load struct {
	// DailyUsers are the people who use it on a day.
	DailyUsers float64 `json:"daily_users"`
	// MessagesPerUser is what each of them sends on a day.
	MessagesPerUser float64 `json:"messages_per_user"`
	// MessageBytes is the mean text, as UTF-8.
	MessageBytes Bytes `json:"message_bytes"`
	// PeakFactor is the busiest second's rate over the day's mean. Package sim has it for one region and for the world.
	PeakFactor float64 `json:"peak_factor"`
	// GroupShare is the part of all messages that goes to groups; GroupMembers the members of the group that a message goes to, on
	// the average over messages, the sender included. A direct chat has two.
	GroupShare   float64 `json:"group_share"`
	GroupMembers float64 `json:"group_members"`
	// OnlineShare is the part of the daily users who are connected at the busiest moment, DevicesPerUser with how many devices.
	OnlineShare    float64 `json:"online_share"`
	DevicesPerUser float64 `json:"devices_per_user"`
	// SessionsPerUser is how often a person comes online on a day.
	SessionsPerUser float64 `json:"sessions_per_user"`
	// ChatsPerUser are the chats of a person in which something happened within LogDays; ChatsEver all that they have.
	ChatsPerUser float64 `json:"chats_per_user"`
	ChatsEver    float64 `json:"chats_ever"`
	// CursorsPerRecipient is how many moves of a cursor (delivered and read together) a message makes for each who gets it, after those
	// that an edge gathers.
	CursorsPerRecipient float64 `json:"cursors_per_recipient"`
	// SignalsPerMessage are frames that nobody keeps, such as typing, told to all other members.
	SignalsPerMessage float64 `json:"signals_per_message"`
	// PagesPerUser are pages of history that a person reads on a day.
	PagesPerUser float64 `json:"pages_per_user"`
	// LogDays is how long the log keeps events, LogCopies in how many copies (1 to 5).
	LogDays   float64 `json:"log_days"`
	LogCopies float64 `json:"log_copies"`
	// StoreDays is for how many days the plan's disks are enough, StoreCopies in how many copies.
	StoreDays   float64 `json:"store_days"`
	StoreCopies float64 `json:"store_copies"`
	// Compression is how many bytes of rows become one on the store's disks.
	Compression float64 `json:"compression"`
	// StormSeconds is the time in which everybody of a cell who was cut off has to be back.
	StormSeconds float64 `json:"storm_seconds"`
}

// Presets of Load by name: 50 million people of some neighbouring regions, and a billion all over the world.
func Presets() map[string]Load {
	fifty := Load{DailyUsers: 50e6, MessagesPerUser: 40, MessageBytes: 100, PeakFactor: RegionalPeak,
		GroupShare: 0.3, GroupMembers: 12, OnlineShare: 0.3, DevicesPerUser: 1.3, SessionsPerUser: 10,
		ChatsPerUser: 15, ChatsEver: 30, CursorsPerRecipient: 0.5, SignalsPerMessage: 2, PagesPerUser: 20,
		LogDays: 30, LogCopies: 3, StoreDays: 365, StoreCopies: 3, Compression: 1.9, StormSeconds: 150}
	billion := fifty
	billion.DailyUsers, billion.MessagesPerUser = 1e9, 100
	return map[string]Load{"50m": fifty, "1b": billion}
}

// Validate says in one line what cannot be planned for.
func (l Load) Validate() error {
	for _, f := range []struct {
		name            string
		value, low, top float64
	}{
		{"daily users", l.DailyUsers, 1, 1e11},
		{"messages per user", l.MessagesPerUser, 0, 1e6},
		{"message bytes", float64(l.MessageBytes), 1, 400e3},
		{"peak factor", l.PeakFactor, 1, 1e3},
		{"group share", l.GroupShare, 0, 1},
		{"group members", l.GroupMembers, 2, 100},
		{"online share", l.OnlineShare, 0, 1},
		{"devices per user", l.DevicesPerUser, 1, 20},
		{"sessions per user", l.SessionsPerUser, 0, 1e4},
		{"chats per user", l.ChatsPerUser, 0, 1e6},
		{"chats ever", l.ChatsEver, l.ChatsPerUser, 1e6},
		{"cursors per recipient", l.CursorsPerRecipient, 0, 10},
		{"signals per message", l.SignalsPerMessage, 0, 100},
		{"pages per user", l.PagesPerUser, 0, 1e5},
		{"log days", l.LogDays, 1, 3650},
		{"log copies", l.LogCopies, 1, 5},
		{"store days", l.StoreDays, 1, 36500},
		{"store copies", l.StoreCopies, 1, 10},
		{"compression", l.Compression, 0.5, 100},
		{"storm seconds", l.StormSeconds, 1, secondsPerDay},
	} {
		if math.IsNaN(f.value) || f.value < f.low || f.value > f.top {
			return fmt.Errorf("capacity: %s: got %v; want %v to %v", f.name, f.value, f.low, f.top)
		}
	}
	return nil
}

// Rates are what a load makes happen. Those per second are of the busiest moment.
type Rates struct {
	MessagesPerDay float64 `json:"messages_per_day"`
	// TextPerDay and TextPerYear are what people typed, once.
	TextPerDay  Bytes `json:"text_per_day_bytes"`
	TextPerYear Bytes `json:"text_per_year_bytes"`

	Connections float64 `json:"connections"`
	Online      float64 `json:"online"`
	// Recipients are the members of a message's chat without the sender, on the average.
	Recipients float64 `json:"recipients"`

	Messages PerSecond `json:"messages_per_s"`
	Cursors  PerSecond `json:"cursors_per_s"`
	// Appends are messages and cursors.
	Appends PerSecond `json:"appends_per_s"`
	// Published is what is published to people's subjects, whether they are online or not; Delivered what devices get.
	Published PerSecond `json:"published_per_s"`
	Routed    PerSecond `json:"routed_per_s"`
	Delivered PerSecond `json:"delivered_per_s"`
	// Comings is how many people come online, and as many go.
	Comings PerSecond `json:"comings_per_s"`
	Pages   PerSecond `json:"pages_per_s"`
	// Storm is how many connections a second come back after all were cut off.
	Storm PerSecond `json:"storm_connections_per_s"`
	// StormPeople is how many people, each with a key and an interest.
	StormPeople PerSecond `json:"storm_people_per_s"`
}

// Rates works out what the load makes happen.
func (l Load) Rates() Rates {
	perDay := l.DailyUsers * l.MessagesPerUser
	peak := func(day float64) PerSecond { return PerSecond(day / secondsPerDay * l.PeakFactor) }
	recipients := (1 - l.GroupShare) + l.GroupShare*(l.GroupMembers-1)
	// A move of a cursor is told to all members: of a direct chat one recipient's to two, of a group each recipient's to all.
	moves := (1-l.GroupShare)*2 + l.GroupShare*(l.GroupMembers-1)*l.GroupMembers
	r := Rates{
		MessagesPerDay: perDay,
		TextPerDay:     Bytes(perDay) * l.MessageBytes,
		TextPerYear:    Bytes(perDay) * l.MessageBytes * 365,
		Online:         l.DailyUsers * l.OnlineShare,
		Recipients:     recipients,
		Messages:       peak(perDay),
		Comings:        peak(l.DailyUsers * l.SessionsPerUser),
		Pages:          peak(l.DailyUsers * l.PagesPerUser),
	}
	r.Connections = r.Online * l.DevicesPerUser
	r.Cursors = r.Messages * PerSecond(recipients*l.CursorsPerRecipient)
	r.Appends = r.Messages + r.Cursors
	told := l.CursorsPerRecipient*moves + l.SignalsPerMessage*recipients // frames beside the message
	r.Published = r.Messages * PerSecond(1+recipients+told)
	r.Routed = r.Messages * PerSecond(1+(recipients+told)*l.OnlineShare) // the sender is online
	r.Delivered = r.Routed * PerSecond(l.DevicesPerUser)
	r.Storm = PerSecond(r.Connections / l.StormSeconds)
	r.StormPeople = PerSecond(r.Online / l.StormSeconds)
	return r
}
