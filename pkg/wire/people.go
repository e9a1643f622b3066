package wire

import "github.com/chatmesh/chatmesh/pkg/chat"

// Person is a person as others see them. Of who has deleted their account only id and name are left, and Deleted says so.
type Person struct {
	ID          chat.UserID `json:"id"`
	Username    string      `json:"username"`
	DisplayName string      `json:"display_name"`
	Status      string      `json:"status,omitempty"`
	Picture     string      `json:"picture,omitempty"`
	Deleted     bool        `json:"deleted,omitempty"`
}

// Profile tells the devices of a person what they show of themselves now.
type Profile struct {
	Type string `json:"type"`
	User Person `json:"user"`
}

// Recheck tells the edges of a person to look again at whose presence the person may see. It reaches no client.
type Recheck struct {
	Type string `json:"type"`
}
