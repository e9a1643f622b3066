// Package report makes of what was measured a file for programs, a table and plots for people, and says of each goal whether it was
// reached.
package report

// Figure is one number that was measured.
type Figure struct {
	// Name says what, such as "rate2000_p99_ms"; System of which system.
	Name   string  `json:"name"`
	System string  `json:"system"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Durable says what an acknowledgement of the system promised.
	Durable string `json:"durable"`
	// Low and High are the least and the greatest value of the rounds; Value is their median. Rounds is how many there were.
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
}

// Results is bench/results/latest.json.
type Results struct {
	// Machine is where and when it was measured.
	Machine Machine `json:"machine"`
	// Quick says that the run only shows that everything works: its figures say nothing.
	Quick   bool     `json:"quick,omitempty"`
	Figures []Figure `json:"figures"`
	// Series are figures along something that grows, for plots.
	Series []Series `json:"series,omitempty"`
}

// Series is how a figure moves along something, such as the number of chats.
type Series struct {
	Name   string `json:"name"`
	System string `json:"system"`
	// X and Unit name the axes.
	X      string  `json:"x"`
	Unit   string  `json:"unit"`
	Points []Point `json:"points"`
}

// Point of a series.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}
