package sim

import "math"

// activity is how much people write in each hour of their day, in parts of no matter what: little at night, most in the evening.
var activity = [24]float64{
	0.35, 0.20, 0.12, 0.08, 0.07, 0.10, 0.25, 0.50, 0.70, 0.80, 0.85, 0.90,
	1.00, 0.95, 0.90, 0.90, 0.95, 1.05, 1.20, 1.35, 1.50, 1.55, 1.30, 0.80,
}

// Zone is people who share a clock.
type Zone struct {
	// Hours ahead of UTC, and the Part of all people.
	Hours, Part float64
}

// Region is three neighbouring time zones, World all that people live in, by where people of a worldwide service are.
var (
	Region = []Zone{{0, 0.25}, {1, 0.5}, {2, 0.25}}
	World  = []Zone{{-8, 0.04}, {-6, 0.07}, {-5, 0.08}, {-3, 0.11}, {0, 0.07}, {1, 0.13}, {2, 0.07}, {3, 0.07}, {5.5, 0.20}, {7, 0.09}, {8, 0.06}, {9, 0.01}}
)

// local is the activity at an hour of the day, which goes evenly from one hour to the next.
func local(hour float64) float64 {
	hour = math.Mod(hour+48, 24)
	i := int(hour)
	part := hour - float64(i)
	return activity[i]*(1-part) + activity[(i+1)%24]*part
}

// Peak is the busiest minute of a day over its mean.
func Peak(zones []Zone) float64 {
	const minutes = 24 * 60
	most, sum := 0.0, 0.0
	for m := range minutes {
		now := 0.0
		for _, z := range zones {
			now += z.Part * local(float64(m)/60+z.Hours)
		}
		most, sum = max(most, now), sum+now
	}
	return most / (sum / minutes)
}
