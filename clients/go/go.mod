module shroff.example/shroff/clients/go

go 1.22
