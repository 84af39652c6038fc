//! Many ways to ask. `{}` is where a name, a list or a place goes.

/// Every thing and its place.
pub const DESCRIBE: &[&str] = &[
    "Describe the picture.",
    "Describe this image.",
    "What is in the picture?",
    "What do you see?",
    "What does this picture show?",
    "Say what is in the image and where.",
    "Tell me what you see in this picture.",
    "Name every thing in the picture and its place.",
    "What can be seen here?",
    "Give a caption for this image.",
    "Please describe what is shown.",
    "List all things with their places.",
];

/// How many of one name.
pub const COUNT: &[&str] = &[
    "How many {} are there?",
    "How many {} do you see?",
    "How many {} are in the picture?",
    "Count the {}.",
    "What is the number of {}?",
    "How many {} can you find?",
    "Please count the {} in this image.",
];

/// How many things in all.
pub const COUNT_ALL: &[&str] = &[
    "How many things are there?",
    "How many things are in the picture?",
    "Count all things.",
    "How many objects do you see?",
    "What is the number of things in this image?",
];

/// Of which colour something is.
pub const COLOUR: &[&str] = &[
    "What colour is {}?",
    "Which colour does {} have?",
    "What is the colour of {}?",
    "Name the colour of {}.",
    "Tell me the colour of {}.",
    "Of what colour is {}?",
];

/// What is on a side of something; the side comes first: "to the left of the cat".
pub const BESIDE: &[&str] = &[
    "What is {}?",
    "What do you see {}?",
    "Which things are {}?",
    "Name what is {}.",
    "What can be found {}?",
    "Tell me what is {}.",
];

/// Whether there is one.
pub const EXISTS: &[&str] = &[
    "Is there {}?",
    "Is there {} in the picture?",
    "Do you see {}?",
    "Can you see {} in this image?",
    "Does the picture show {}?",
    "Is {} in the image?",
];

/// What is written.
pub const READ: &[&str] = &[
    "Read {}.",
    "What does {} say?",
    "What is written here as {}?",
    "Please read {} in the picture.",
    "Which letters or digits does {} have?",
    "Write down {} as it is shown.",
];

/// Boxes of one name.
pub const LOCATE: &[&str] = &[
    "Locate {} and give bounding boxes in JSON.",
    "Give the bounding box of {} in JSON.",
    "Find {} in the picture; answer with bbox_2d in JSON.",
    "Detect {} and output the boxes as JSON.",
    "Where exactly is {}? Answer with bbox_2d coordinates in JSON.",
    "Mark {} with boxes, in JSON format.",
];

/// Points of one name.
pub const POINT: &[&str] = &[
    "Point to {} in JSON.",
    "Give a point for {} as point_2d in JSON.",
    "Locate {} with points, in JSON format.",
    "Mark the middle of {} with point_2d in JSON.",
    "Where is {}? Answer with point_2d coordinates in JSON.",
];

/// Which of a list is there.
pub const CHOOSE: &[&str] = &[
    "Which of these is in the picture: {}?",
    "Which one do you see: {}? If none, say so.",
    "Choose what the picture shows: {}, or none of these.",
    "One of these or none of them is shown: {}. Which?",
    "Is it {}? Say which one is in the picture.",
    "Of {}, which is there?",
];

/// At which place something is.
pub const WHERE: &[&str] = &[
    "Where is {}?",
    "At which place is {}?",
    "Where in the picture is {}?",
    "Where do you see {}?",
    "Tell me where {} is.",
    "In which part of the image is {}?",
];

/// What is at a place.
pub const WHAT_AT: &[&str] = &[
    "What is {}?",
    "What do you see {}?",
    "What is shown {} of the picture?",
    "Name what is {}.",
    "Which things are {} of the image?",
    "Tell me what is {}.",
];

/// What the only thing is.
pub const IDENTIFY: &[&str] = &[
    "What is this?",
    "What is it?",
    "Name the thing in the picture.",
    "Which thing is shown?",
    "What does the picture show? Answer with its name.",
    "Tell me what this is.",
];

/// What differs between two pictures.
pub const DIFFERENCE: &[&str] = &[
    "What is different between the two pictures?",
    "Compare the two pictures.",
    "What has changed from the first picture to the second?",
    "Find the difference between these images.",
    "How does the second picture differ from the first?",
    "What changed?",
];

/// Whether two pictures are the same.
pub const SAME: &[&str] = &[
    "Are the two pictures the same?",
    "Do both pictures show the same?",
    "Are these images equal?",
    "Is there no difference between the two pictures?",
];

/// Which of two pictures has something.
pub const WHICH_PICTURE: &[&str] = &[
    "Which picture has {}?",
    "In which picture is {}?",
    "Which of the two pictures shows {}?",
    "Where is {}: in the first picture, in the second or in both?",
];

/// What happens in a video.
pub const MOTION: &[&str] = &[
    "What happens in the video?",
    "Describe the video.",
    "What moves, and where to?",
    "What do you see in this video?",
    "Say what happens here.",
    "How does the thing move?",
];

/// Which way one thing moves.
pub const WHICH_WAY: &[&str] =
    &["Which way does {} move?", "Where does {} go?", "How does {} move?", "In which direction does {} move?"];
