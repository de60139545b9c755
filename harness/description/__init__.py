"""What a dataset holds, before anything is trained on it: facts about captions, images and what they share."""
