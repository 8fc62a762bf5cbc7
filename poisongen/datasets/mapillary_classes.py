"""The classes of Mapillary Vistas 1.2 (66) and 2.0 (124): config_v1.2.json and config_v2.0.json of the download.

Readable names and colours, in the order of the configuration, as mmsegmentation's `MapillaryDataset_v1` and `_v2` have
them too. Void is what the configuration does not evaluate: unlabeled, and in 2.0 what is ambiguous or a group.
"""

from __future__ import annotations

from poisongen.datasets.class_rows import class_table

UNLABELED_12, UNLABELED_20 = 65, 123
CLASSES_12 = class_table(
    """
165 42 42 Bird
0 192 0 Ground Animal
196 196 196 Curb
190 153 153 Fence
180 165 180 Guard Rail
90 120 150 Barrier
102 102 156 Wall
128 64 255 Bike Lane
140 140 200 Crosswalk - Plain
170 170 170 Curb Cut
250 170 160 Parking
96 96 96 Pedestrian Area
230 150 140 Rail Track
128 64 128 Road
110 110 110 Service Lane
244 35 232 Sidewalk
150 100 100 Bridge
70 70 70 Building
150 120 90 Tunnel
220 20 60 Person
255 0 0 Bicyclist
255 0 100 Motorcyclist
255 0 200 Other Rider
200 128 128 Lane Marking - Crosswalk
255 255 255 Lane Marking - General
64 170 64 Mountain
230 160 50 Sand
70 130 180 Sky
190 255 255 Snow
152 251 152 Terrain
107 142 35 Vegetation
0 170 30 Water
255 255 128 Banner
250 0 30 Bench
100 140 180 Bike Rack
220 220 220 Billboard
220 128 128 Catch Basin
222 40 40 CCTV Camera
100 170 30 Fire Hydrant
40 40 40 Junction Box
33 33 33 Mailbox
100 128 160 Manhole
142 0 0 Phone Booth
70 100 150 Pothole
210 170 100 Street Light
153 153 153 Pole
128 128 128 Traffic Sign Frame
0 0 80 Utility Pole
250 170 30 Traffic Light
192 192 192 Traffic Sign (Back)
220 220 0 Traffic Sign (Front)
140 140 20 Trash Can
119 11 32 Bicycle
150 0 255 Boat
0 60 100 Bus
0 0 142 Car
0 0 90 Caravan
0 0 230 Motorcycle
0 80 100 On Rails
128 64 64 Other Vehicle
0 0 110 Trailer
0 0 70 Truck
0 0 192 Wheeled Slow
32 32 32 Car Mount
120 10 10 Ego Vehicle
0 0 0 Unlabeled
""",
    void=[UNLABELED_12],
)
CLASSES_20 = class_table(
    """
165 42 42 Bird
0 192 0 Ground Animal
250 170 31 Ambiguous Barrier
250 170 32 Concrete Block
196 196 196 Curb
190 153 153 Fence
180 165 180 Guard Rail
90 120 150 Barrier
250 170 33 Road Median
250 170 34 Road Side
128 128 128 Lane Separator
250 170 35 Temporary Barrier
102 102 156 Wall
128 64 255 Bike Lane
140 140 200 Crosswalk - Plain
170 170 170 Curb Cut
250 170 36 Driveway
250 170 160 Parking
250 170 37 Parking Aisle
96 96 96 Pedestrian Area
230 150 140 Rail Track
128 64 128 Road
110 110 110 Road Shoulder
110 110 110 Service Lane
244 35 232 Sidewalk
128 196 128 Traffic Island
150 100 100 Bridge
70 70 70 Building
150 150 150 Garage
150 120 90 Tunnel
220 20 60 Person
220 20 60 Person Group
255 0 0 Bicyclist
255 0 100 Motorcyclist
255 0 200 Other Rider
255 255 255 Lane Marking - Dashed Line
255 255 255 Lane Marking - Straight Line
250 170 29 Lane Marking - Zigzag Line
250 170 28 Lane Marking - Ambiguous
250 170 26 Lane Marking - Arrow (Left)
250 170 25 Lane Marking - Arrow (Other)
250 170 24 Lane Marking - Arrow (Right)
250 170 22 Lane Marking - Arrow (Split Left or Straight)
250 170 21 Lane Marking - Arrow (Split Right or Straight)
250 170 20 Lane Marking - Arrow (Straight)
255 255 255 Lane Marking - Crosswalk
250 170 19 Lane Marking - Give Way (Row)
250 170 18 Lane Marking - Give Way (Single)
250 170 12 Lane Marking - Hatched (Chevron)
250 170 11 Lane Marking - Hatched (Diagonal)
255 255 255 Lane Marking - Other
255 255 255 Lane Marking - Stop Line
250 170 16 Lane Marking - Symbol (Bicycle)
250 170 15 Lane Marking - Symbol (Other)
250 170 15 Lane Marking - Text
255 255 255 Lane Marking (only) - Dashed Line
255 255 255 Lane Marking (only) - Crosswalk
255 255 255 Lane Marking (only) - Other
255 255 255 Lane Marking (only) - Test
64 170 64 Mountain
230 160 50 Sand
70 130 180 Sky
190 255 255 Snow
152 251 152 Terrain
107 142 35 Vegetation
0 170 30 Water
255 255 128 Banner
250 0 30 Bench
100 140 180 Bike Rack
220 128 128 Catch Basin
222 40 40 CCTV Camera
100 170 30 Fire Hydrant
40 40 40 Junction Box
33 33 33 Mailbox
100 128 160 Manhole
20 20 255 Parking Meter
142 0 0 Phone Booth
70 100 150 Pothole
250 171 30 Signage - Advertisement
250 172 30 Signage - Ambiguous
250 173 30 Signage - Back
250 174 30 Signage - Information
250 175 30 Signage - Other
250 176 30 Signage - Store
210 170 100 Street Light
153 153 153 Pole
153 153 153 Pole Group
128 128 128 Traffic Sign Frame
0 0 80 Utility Pole
210 60 60 Traffic Cone
250 170 30 Traffic Light - General (Single)
250 170 30 Traffic Light - Pedestrians
250 170 30 Traffic Light - General (Upright)
250 170 30 Traffic Light - General (Horizontal)
250 170 30 Traffic Light - Cyclists
250 170 30 Traffic Light - Other
192 192 192 Traffic Sign - Ambiguous
192 192 192 Traffic Sign (Back)
192 192 192 Traffic Sign - Direction (Back)
220 220 0 Traffic Sign - Direction (Front)
220 220 0 Traffic Sign (Front)
0 0 196 Traffic Sign - Parking
192 192 192 Traffic Sign - Temporary (Back)
220 220 0 Traffic Sign - Temporary (Front)
140 140 20 Trash Can
119 11 32 Bicycle
150 0 255 Boat
0 60 100 Bus
0 0 142 Car
0 0 90 Caravan
0 0 230 Motorcycle
0 80 100 On Rails
128 64 64 Other Vehicle
0 0 110 Trailer
0 0 70 Truck
0 0 142 Vehicle Group
0 0 192 Wheeled Slow
170 170 170 Water Valve
32 32 32 Car Mount
111 74 0 Dynamic
120 10 10 Ego Vehicle
81 0 81 Ground
111 111 0 Static
0 0 0 Unlabeled
""",
    void=[UNLABELED_20, 2, 31, 38, 79, 86, 96, 115],
)
OFFICIAL_20 = """
animal--bird
animal--ground-animal
construction--barrier--ambiguous
construction--barrier--concrete-block
construction--barrier--curb
construction--barrier--fence
construction--barrier--guard-rail
construction--barrier--other-barrier
construction--barrier--road-median
construction--barrier--road-side
construction--barrier--separator
construction--barrier--temporary
construction--barrier--wall
construction--flat--bike-lane
construction--flat--crosswalk-plain
construction--flat--curb-cut
construction--flat--driveway
construction--flat--parking
construction--flat--parking-aisle
construction--flat--pedestrian-area
construction--flat--rail-track
construction--flat--road
construction--flat--road-shoulder
construction--flat--service-lane
construction--flat--sidewalk
construction--flat--traffic-island
construction--structure--bridge
construction--structure--building
construction--structure--garage
construction--structure--tunnel
human--person--individual
human--person--person-group
human--rider--bicyclist
human--rider--motorcyclist
human--rider--other-rider
marking--continuous--dashed
marking--continuous--solid
marking--continuous--zigzag
marking--discrete--ambiguous
marking--discrete--arrow--left
marking--discrete--arrow--other
marking--discrete--arrow--right
marking--discrete--arrow--split-left-or-straight
marking--discrete--arrow--split-right-or-straight
marking--discrete--arrow--straight
marking--discrete--crosswalk-zebra
marking--discrete--give-way-row
marking--discrete--give-way-single
marking--discrete--hatched--chevron
marking--discrete--hatched--diagonal
marking--discrete--other-marking
marking--discrete--stop-line
marking--discrete--symbol--bicycle
marking--discrete--symbol--other
marking--discrete--text
marking-only--continuous--dashed
marking-only--discrete--crosswalk-zebra
marking-only--discrete--other-marking
marking-only--discrete--text
nature--mountain
nature--sand
nature--sky
nature--snow
nature--terrain
nature--vegetation
nature--water
object--banner
object--bench
object--bike-rack
object--catch-basin
object--cctv-camera
object--fire-hydrant
object--junction-box
object--mailbox
object--manhole
object--parking-meter
object--phone-booth
object--pothole
object--sign--advertisement
object--sign--ambiguous
object--sign--back
object--sign--information
object--sign--other
object--sign--store
object--street-light
object--support--pole
object--support--pole-group
object--support--traffic-sign-frame
object--support--utility-pole
object--traffic-cone
object--traffic-light--general-single
object--traffic-light--pedestrians
object--traffic-light--general-upright
object--traffic-light--general-horizontal
object--traffic-light--cyclists
object--traffic-light--other
object--traffic-sign--ambiguous
object--traffic-sign--back
object--traffic-sign--direction-back
object--traffic-sign--direction-front
object--traffic-sign--front
object--traffic-sign--information-parking
object--traffic-sign--temporary-back
object--traffic-sign--temporary-front
object--trash-can
object--vehicle--bicycle
object--vehicle--boat
object--vehicle--bus
object--vehicle--car
object--vehicle--caravan
object--vehicle--motorcycle
object--vehicle--on-rails
object--vehicle--other-vehicle
object--vehicle--trailer
object--vehicle--truck
object--vehicle--vehicle-group
object--vehicle--wheeled-slow
object--water-valve
void--car-mount
void--dynamic
void--ego-vehicle
void--ground
void--static
void--unlabeled
""".split()  # noqa: SIM905  a table
"""The names that polygon files have, by ID."""
