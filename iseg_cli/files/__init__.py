"""Files in general, for readers and storage: text files of users, and the set-up of Pillow."""
