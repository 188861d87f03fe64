// Stands in for the getdns child: does what the first label of the name it is asked for says.
process.on('disconnect', () => process.exit())
process.on('message', (message) => {
  if (message.kind === 'open') {
    if (message.modulePath === '/unusable') process.send({ kind: 'unusable', why: 'no library' })
    else process.send({ kind: 'opened' })
    return
  }
  const { id, name } = message
  switch (name.split('.')[0]) {
    case 'crash':
      process.kill(process.pid, 'SIGSEGV')
      break
    case 'hang':
      for (;;);
    case 'mute':
      break
    default:
      process.send({ kind: 'failed', id, cause: 'network', why: `pid ${process.pid}` })
  }
})
